"""Looking for a leader: servers tell each other whom they would have lead, until a quorum names the same one.

    start ─ a new round: vote for myself, tell all voters
      a vote of a later round      join that round with the better of it and my own first vote; tell all
      a better vote of this round  make it mine; tell all
      an older round, a worse vote answer with my vote, so that its sender comes along
      a quorum votes as I do       wait a moment for something better, then the vote stands ─→ lead, or learn
      all who can be reached do    nothing better can come: if they vote for me, lead at once, and tell them so
      a quorum follows or leads    and the leader itself says that it leads ─→ learn from it, whatever the round
      silence                      tell all again, at growing intervals

Only voters are listened to and voted for. A leader's own word is asked for because otherwise its followers, who have
not noticed its death yet, would have it elected for ever. Source: FastLeaderElection.
"""

from typing import TYPE_CHECKING, Final

from zkpy.proto.notification import FOLLOWING, LEADING, LOOKING, Notification
from zkpy.zab.role import Role
from zkpy.zab.votes import Vote

if TYPE_CHECKING:
    from zkpy.zab.peer import Peer

#: What a server that cannot be elected votes for, so that any vote is better: the least number.
NOBODY: Final = -(1 << 63)
#: The zxid of a server that does not know whether its empty disk is all there should be: not to be counted on.
UNKNOWN_ZXID: Final = -1


class Looking(Role):
    """One election, from its first vote to the leader it finds."""

    __slots__ = (
        "_ballots",
        "_finalize_ms",
        "_initial",
        "_interval_ms",
        "_others",
        "_outside",
        "_resend_ms",
        "proposal",
    )

    def __init__(self, peer: "Peer", start_ms: int) -> None:
        """Begin at `start_ms`, or at once if that is over."""
        super().__init__(peer)
        settings = peer.settings
        me = settings.sid
        if peer.ensemble.has_voter(me):
            self._initial = Vote(me, peer.history.proposed, 0, peer.current_epoch)
        else:
            self._initial = Vote(NOBODY, NOBODY, 0, NOBODY)
        #: Whom this server votes for now.
        self.proposal = self._initial
        self._others = [sid for sid in sorted(peer.ensemble.quorum.voters) if sid != me]
        # the votes of this round
        self._ballots: dict[int, Vote] = {}
        # what those say who follow or lead, of whatever round
        self._outside: dict[int, Vote] = {}
        self._interval_ms = settings.min_notification_ms
        #: When to tell all again, or to begin.
        self._resend_ms = start_ms
        #: When the vote of a quorum stands; -1 while there is none.
        self._finalize_ms = -1
        peer.round += 1

    def enter(self) -> None:
        if self._resend_ms <= self.peer.now_ms:
            self._begin()

    def deadline_ms(self) -> int:
        return self._finalize_ms if self._finalize_ms >= 0 else self._resend_ms

    def wake(self) -> None:
        now_ms = self.peer.now_ms
        if self._finalize_ms >= 0:
            if now_ms >= self._finalize_ms:
                self._elect(self.proposal)
        elif now_ms >= self._resend_ms:
            if not self._has_begun:
                self._begin()
                return
            self._tell_all()
            self._interval_ms = min(2 * self._interval_ms, self.peer.settings.max_notification_ms)
            self._resend_ms = now_ms + self._interval_ms

    def notified(self, sid: int, notification: Notification) -> None:
        peer = self.peer
        if not self._has_begun:
            return
        vote = Vote.of(notification)
        if vote.state == LOOKING and self._is_voter and (vote.round < peer.round or self._is_behind(vote)):
            peer.notify(sid, self._vote_of_mine())
        if not peer.ensemble.has_voter(vote.leader):
            return
        if self._finalize_ms >= 0:
            if not self._beats(vote, self.proposal):
                self._on_agreement(sid, vote)
                return
            self._finalize_ms = -1
        self._resend_ms = peer.now_ms + self._interval_ms
        if notification.state == LOOKING:
            self._on_looking(sid, vote)
        elif notification.state in (FOLLOWING, LEADING):
            self._on_established(sid, vote)

    def unreachable(self) -> None:
        if self._finalize_ms >= 0:
            self._end_wait()

    def _is_behind(self, vote: Vote) -> bool:
        """Does its sender not know of the better vote of this round?

        That was told it, but maybe before it came to this round itself: it led then, and did not count. Its own words
        keep this server from repeating the vote, so they must be answered, or both wait for ever.
        """
        return vote.round == self.peer.round and self._beats(self.proposal, vote)

    # --- the votes -----------------------------------------------------------------------------------------------

    @property
    def _is_voter(self) -> bool:
        """Is the vote counted? Whoever does not count it answers it at once, so it must not be an answer itself."""
        return self.peer.ensemble.has_voter(self.peer.settings.sid)

    @property
    def _has_begun(self) -> bool:
        return self.proposal.round > 0

    def _begin(self) -> None:
        self._propose(self._initial)
        self._resend_ms = self.peer.now_ms + self._interval_ms
        self._count()

    def _on_looking(self, sid: int, vote: Vote) -> None:
        peer = self.peer
        if vote.zxid == UNKNOWN_ZXID or vote.round < peer.round:
            return
        if vote.round > peer.round:
            peer.round = vote.round
            self._ballots.clear()
            self._propose(vote if self._beats(vote, self._initial) else self._initial)
        elif self._beats(vote, self.proposal):
            self._propose(vote)
        self._ballots[sid] = vote
        self._count()

    def _on_agreement(self, sid: int, vote: Vote) -> None:
        """While better votes are waited for: one more for the same leader, or his own word that he leads."""
        if vote.round != self.peer.round:
            return
        if vote.state == LOOKING and vote.agrees(self.proposal):
            self._ballots[sid] = vote
            self._end_wait()
        elif vote.state == LEADING and sid == vote.leader == self.proposal.leader:
            self._on_established(sid, vote)

    def _on_established(self, sid: int, vote: Vote) -> None:
        peer = self.peer
        if vote.round == peer.round:
            # Without its version, so that it is compared by its leader only, as Apache does.
            self._ballots[sid] = Vote(vote.leader, vote.zxid, vote.round, vote.epoch, vote.state)
            if self._is_decided(self._ballots, vote):
                self._elect(vote)
                return
        self._outside[sid] = vote
        if self._is_decided(self._outside, vote):
            peer.round = vote.round
            self._elect(vote)

    def _beats(self, vote: Vote, other: Vote) -> bool:
        return self.peer.ensemble.quorum.weight(vote.leader) > 0 and vote.rank > other.rank

    def _propose(self, vote: Vote) -> None:
        """Vote like that in this round, and tell all."""
        self.proposal = Vote(vote.leader, vote.zxid, self.peer.round, vote.epoch)
        self._tell_all()
        me = self.peer.settings.sid
        if self.peer.ensemble.has_voter(me):
            self._ballots[me] = self.proposal

    def _tell_all(self) -> None:
        vote = self._vote_of_mine()
        for sid in self._others:
            self.peer.notify(sid, vote)

    def _vote_of_mine(self) -> Vote:
        proposal = self.proposal
        return Vote(proposal.leader, proposal.zxid, self.peer.round, proposal.epoch)

    # --- the outcome ---------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Once a quorum votes as this server does, a moment decides."""
        if self._has_quorum(self._ballots, self.proposal):
            self._finalize_ms = self.peer.now_ms + self.peer.settings.finalize_wait_ms
            self._end_wait()

    def _end_wait(self) -> None:
        """Lead at once if every voter that can be reached wants that.

        Only the one who is voted for ends the wait: he can begin to listen, while a learner that is early would find
        nobody listening where the leader, of Apache's, still waits.
        """
        peer = self.peer
        if self.proposal.leader != peer.settings.sid:
            return
        awaited = peer.ensemble.quorum.voters - peer.away
        if all(sid in self._ballots and self.proposal.agrees(self._ballots[sid]) for sid in awaited):
            self._elect(self.proposal)

    def _has_quorum(self, votes: dict[int, Vote], vote: Vote) -> bool:
        return self.peer.ensemble.quorum.has_quorum([sid for sid, other in votes.items() if vote.agrees(other)])

    def _is_decided(self, votes: dict[int, Vote], vote: Vote) -> bool:
        """Do these votes show a leader that a quorum has and that is alive?"""
        if not self._has_quorum(votes, vote):
            return False
        if vote.leader == self.peer.settings.sid:
            return vote.round == self.peer.round
        leaders = votes.get(vote.leader)
        return leaders is not None and leaders.state == LEADING

    def _elect(self, vote: Vote) -> None:
        if vote.leader == self.peer.settings.sid:
            self.peer.become_leading(vote)
        else:
            self.peer.become_learning(vote)
