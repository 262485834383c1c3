"""Votes: whom a server would have lead, and the order that makes all of them name the same one in the end.

    greater currentEpoch, then greater zxid, then greater sid

Whoever has the greatest pair of epoch and zxid among a quorum has every txn that was ever committed, for a quorum has
synced each of them. Sources: Vote, FastLeaderElection.totalOrderPredicate.
"""

import attrs

from zkpy.proto.notification import LOOKING, Notification


@attrs.frozen(eq=False)
class Vote:
    """`leader` with the `epoch` (its currentEpoch) and `zxid` that it had, as of a `round` of votes.

    `state` is that of the voter; `version` is what its notification had.
    """

    leader: int
    zxid: int
    round: int
    epoch: int
    state: int = LOOKING
    version: int = 0

    @classmethod
    def of(cls, notification: Notification) -> "Vote":
        """The vote that a notification carries."""
        return cls(
            notification.leader,
            notification.zxid,
            notification.election_epoch,
            notification.peer_epoch,
            notification.state,
            notification.version,
        )

    @property
    def rank(self) -> tuple[int, int, int]:
        """What votes are ordered by."""
        return self.epoch, self.zxid, self.leader

    def agrees(self, other: "Vote") -> bool:
        """Do both support the same leader?

        Looking servers must agree in every number. Those that follow or lead already may have kept different zxids and
        rounds; their leader's epoch tells his reigns apart, but servers before 3.4.6 (version 0) did not keep that up.
        """
        if self.leader != other.leader:
            return False
        if LOOKING in (self.state, other.state):
            return (self.zxid, self.round, self.epoch) == (other.zxid, other.round, other.epoch)
        if (self.version > 0) != (other.version > 0):
            return True
        return self.epoch == other.epoch
