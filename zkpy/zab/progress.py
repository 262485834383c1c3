"""Progress: the leader's view of one learner, and the plan that brings its history to the leader's.

    the learner's last txn is …
      the leader's own last one             DIFF, nothing else
      behind it, though txns follow none    TRUNC to the leader's last; but an epoch's start is no txn: DIFF
      in memory, or an epoch's start        DIFF, and what follows
      between two txns in memory            TRUNC to the one before, and what follows; but across epochs: SNAP
      older than memory                     the same, with the log read from disk; if that is too short or long: SNAP

TRUNC never crosses into another epoch: Apache's learners may not have the txn they are to be cut behind, and exit.
Source: LearnerHandler.syncFollower.
"""

from typing import Final

from zkpy.proto.packets import DIFF, SNAP, TRUNC
from zkpy.proto.zxid import counter_of, epoch_of
from zkpy.zab.history import Entry, History

# Phases of a learner.
#: Its FOLLOWERINFO or OBSERVERINFO has not come.
CONNECTED: Final = 0
#: It waits for the quorum that makes an epoch.
INFORMED: Final = 1
#: LEADERINFO is on its way, or its ACKEPOCH.
OFFERED: Final = 2
#: It waits for the quorum that makes the epoch this leader's.
PROMISED: Final = 3
#: The log is being read for it.
READING: Final = 4
#: It has everything up to NEWLEADER, and has not acknowledged that.
SYNCING: Final = 5
#: It has acknowledged NEWLEADER, and waits for a quorum to do so.
SYNCED: Final = 6
#: UPTODATE: it serves.
ACTIVE: Final = 7


class Plan:
    """How to bring a learner to the leader's history: `op` (DIFF, TRUNC, SNAP) with its `zxid`, then what is after.

    `after` is the last txn that the learner has once it has carried out `op`.
    """

    __slots__ = ("after", "op", "zxid")

    def __init__(self, op: int, zxid: int, after: int) -> None:
        self.op = op
        self.zxid = zxid
        self.after = after


def plan(history: History, settled: int, peer_zxid: int) -> Plan | None:
    """The plan for a learner whose last txn is `peer_zxid`, None if the log on disk must be asked.

    `settled`: the last txn that learners get as committed.
    """
    last = history.last_upto(settled)
    if peer_zxid == last:
        return Plan(DIFF, last, last)
    if peer_zxid > last:
        # What is at the start of an epoch was committed before that, so the leader has all of it.
        return Plan(TRUNC, last, last) if counter_of(peer_zxid) else Plan(DIFF, last, last)
    if peer_zxid < history.before:
        return None
    before = history.last_upto(peer_zxid)
    following = history.entries(peer_zxid, settled)
    return _walk(before, following[0][0], peer_zxid, last)


def plan_from_log(entries: list[Entry], settled: int, peer_zxid: int) -> Plan:
    """The same with the log, whose `entries` begin at or before the learner's last txn and go beyond it."""
    assert entries[0][0] <= peer_zxid < entries[-1][0]
    before = max(zxid for zxid, _ in entries if zxid <= peer_zxid)
    following = min(zxid for zxid, _ in entries if zxid > peer_zxid)
    return _walk(before, following, peer_zxid, settled)


def _walk(before: int, following: int, peer_zxid: int, last: int) -> Plan:
    """`before` and `following`: the leader's txns around the learner's last one."""
    if before == peer_zxid or not counter_of(peer_zxid):
        return Plan(DIFF, last, peer_zxid)
    if epoch_of(following) == epoch_of(peer_zxid) == epoch_of(before):
        return Plan(TRUNC, before, before)
    return Plan(SNAP, 0, 0)


class Progress:
    """One learner at one link, as its leader sees it."""

    __slots__ = (
        "ack_epoch_zxid",
        "acked",
        "asked_ms",
        "awaits",
        "deadline_tick",
        "has_asked",
        "heard_ms",
        "is_observer",
        "is_snapping",
        "link",
        "phase",
        "read_upto",
        "sent_bytes",
        "sent_txns",
        "sid",
        "tracked",
        "waiting_newest",
        "way",
    )

    def __init__(self, link: int, now_ms: int, deadline_tick: int) -> None:
        self.link = link
        #: Known from INFORMED on.
        self.sid = -1 << 63
        self.is_observer = False
        self.phase = CONNECTED
        #: The last txn of its history, as ACKEPOCH said.
        self.ack_epoch_zxid = -1
        #: The last txn that it has acknowledged, and with it all before.
        self.acked = -1
        self.heard_ms = now_ms
        #: The last tick of the leader in which the learner counts as synced without being heard of.
        self.deadline_tick = deadline_tick
        #: A snapshot is being sent, and no answer can come.
        self.is_snapping = False
        #: How it is brought up: by which packet, since when, and with how much beside a tree.
        self.way = SNAP
        self.asked_ms = now_ms
        self.sent_txns = self.sent_bytes = 0
        #: It has sent requests that are not proposed yet; and the last txn that came of its requests.
        self.has_asked = False
        self.awaits = -1
        #: READING: the last txn that was read for it.
        self.read_upto = -1
        #: The proposal whose ack is timed, as (zxid, when it was sent); and the newest one sent after it.
        self.tracked: tuple[int, int] | None = None
        self.waiting_newest: tuple[int, int] | None = None

    # --- how long acks take: one proposal at a time is timed, and the newest one is remembered as the next

    def track(self, zxid: int, now_ms: int) -> None:
        """A proposal was sent."""
        if self.tracked is None:
            self.tracked = (zxid, now_ms)
        else:
            self.waiting_newest = (zxid, now_ms)

    def ack(self, zxid: int) -> None:
        """A proposal was acknowledged, and with it all before it."""
        self.acked = max(self.acked, zxid)
        if self.tracked is not None and zxid >= self.tracked[0]:
            newest = self.waiting_newest
            self.waiting_newest = None
            self.tracked = newest if newest is not None and newest[0] > zxid else None

    def is_late(self, now_ms: int, limit_ms: int) -> bool:
        """Has the timed proposal waited longer than the limit?"""
        return self.tracked is not None and now_ms - self.tracked[1] > limit_ms
