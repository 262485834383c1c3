"""Synchronizer: brings learners to the leader's history, by the plan that `progress.py` makes for each.

    from memory          DIFF or TRUNC, then each txn as PROPOSAL and COMMIT                        ┐
    from the log on disk the same, part by part as the log is read, then what is in memory          ├─→ NEWLEADER
    by a snapshot        SNAP, with the tree as it is, then what the tree has not applied yet       ┘

Behind NEWLEADER a learner gets what is proposed, and is one of those that the leader speaks to. A log with a gap would
make histories with a gap: each part is looked through, and a learner that has got a part of such a log begins again,
with a snapshot. Source: LearnerHandler.syncFollower, Leader.startForwarding.
"""

from typing import TYPE_CHECKING

from zkpy.proto import packets
from zkpy.proto.packets import encode
from zkpy.proto.zxid import epoch_of, make_zxid
from zkpy.zab.history import Entry
from zkpy.zab.progress import READING, SYNCING, Plan, Progress, plan, plan_from_log

if TYPE_CHECKING:
    from zkpy.zab.leading import Leading


class Synchronizer:
    """One leader's way to bring its learners up."""

    __slots__ = ("_leading", "_must_snap", "_peer")

    def __init__(self, leading: "Leading") -> None:
        self._leading = leading
        self._peer = leading.peer
        # sids whose history could not be brought up from our log, though it had begun: next time they get a snapshot
        self._must_snap: set[int] = set()

    def begin(self, learner: Progress) -> None:
        """Begin to bring the learner to the leader's history."""
        history = self._peer.history
        learner.asked_ms = self._peer.now_ms
        if self._peer.settings.force_snap or learner.sid in self._must_snap:
            self._send_snap(learner)
            return
        chosen = plan(history, self._leading.settled, learner.ack_epoch_zxid)
        if chosen is None:
            learner.phase = READING
            self._peer.out.reads.append((learner.link, learner.ack_epoch_zxid, history.before))
        elif chosen.op == packets.SNAP:
            self._send_snap(learner)
        else:
            self._send_op(learner, chosen)
            self._send_tail(learner, chosen.after)

    def read(self, learner: Progress, entries: list[Entry] | None, is_end: bool) -> None:
        """The log was read for a learner (see `Peer.log_read`)."""
        history = self._peer.history
        last = learner.read_upto
        if last < 0:
            peer_zxid = learner.ack_epoch_zxid
            if entries is None or not _is_whole(entries) or not entries[0][0] <= peer_zxid < entries[-1][0]:
                self._send_snap(learner)
                return
            chosen = plan_from_log(entries, self._leading.settled, peer_zxid)
            if chosen.op == packets.SNAP:
                self._send_snap(learner)
                return
            self._send_op(learner, chosen)
            last = chosen.after
        elif entries is None or not _is_whole(entries) or entries[0][0] != last:
            self._give_up(learner)
            return
        self._send_history(learner, [entry for entry in entries if entry[0] > last])
        learner.read_upto = entries[-1][0]
        if is_end and learner.read_upto >= history.before:
            self._send_tail(learner, learner.read_upto)
        elif learner.read_upto == last:
            self._give_up(learner)
        else:
            self._peer.out.reads.append((learner.link, learner.read_upto, history.before))

    def _give_up(self, learner: Progress) -> None:
        """The log has a gap, and the learner has got a part of it: it must begin again, with a snapshot."""
        self._must_snap.add(learner.sid)
        self._leading.end(learner, "the log does not reach from its history to ours")

    def _send_snap(self, learner: Progress) -> None:
        history = self._peer.history
        learner.is_snapping = True
        self._peer.out.snaps.append((learner.link, encode(packets.SNAP, history.committed)))
        self._must_snap.discard(learner.sid)
        self._send_tail(learner, history.committed)

    def _send_tail(self, learner: Progress, after: int) -> None:
        """The rest of the history from memory, NEWLEADER, and what is proposed so far; from now on it gets the rest.

        Outstanding proposals come behind NEWLEADER: a follower of 3.8.0 that gets them before it hands them to its log,
        and fails at their commit.
        """
        history = self._peer.history
        self._send_history(learner, history.entries(after, self._leading.settled))
        parts = [
            encode(packets.NEWLEADER, make_zxid(self._leading.epoch, 0), self._peer.ensemble.text),
        ]
        if not learner.is_observer:
            outstanding = history.entries(self._leading.settled, history.proposed)
            parts += [encode(packets.PROPOSAL, zxid, txn) for zxid, txn in outstanding]
            if outstanding:
                learner.track(outstanding[-1][0], self._peer.now_ms)
        self._send(learner, b"".join(parts))
        learner.phase = SYNCING
        learner.heard_ms = self._peer.now_ms

    def _send_op(self, learner: Progress, chosen: Plan) -> None:
        learner.way = chosen.op
        self._send(learner, encode(chosen.op, chosen.zxid))

    def _send_history(self, learner: Progress, entries: list[Entry]) -> None:
        learner.sent_txns += len(entries)
        learner.sent_bytes += sum([len(txn) for _, txn in entries])
        self._send(learner, _as_history(entries))

    def _send(self, learner: Progress, data: bytes) -> None:
        if data:
            self._peer.out.send.append((learner.link, data))


def _as_history(entries: list[Entry]) -> bytes:
    """Txns as a learner gets its history: each proposal with its commit."""
    parts: list[bytes] = []
    for zxid, txn in entries:
        parts += (encode(packets.PROPOSAL, zxid, txn), encode(packets.COMMIT, zxid))
    return b"".join(parts)


def _is_whole(entries: list[Entry]) -> bool:
    """Are these in order, without a hole inside an epoch?"""
    last = None
    for zxid, _ in entries:
        if last is not None and zxid != last + 1 and epoch_of(zxid) <= epoch_of(last):
            return False
        last = zxid
    return last is not None
