"""Planted faults: small patches of the core or of its driver, each a slip that a server like this one has made once.

A judge that never speaks proves nothing. So each of these is put in, seeds are played until a judge speaks, and
`test_faults.py` demands that it does so soon, and that the same seeds are silent without the fault. The numbers are
issues of ZooKeeper's that tell such a story.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from tests.sim.disk import Disk
from tests.sim.member import Core, Member
from zkpy.keeper.keeper import Keeper
from zkpy.keeper.learning import Learning as KeeperLearning
from zkpy.keeper.prepare import Preparer
from zkpy.keeper.requests import Request
from zkpy.keeper.sessions import LiveSessions
from zkpy.proto import opcodes, packets
from zkpy.proto.packets import encode
from zkpy.proto.records import QuorumPacket
from zkpy.tree.datatree import Change, DataTree
from zkpy.zab.following import PROMISED, SYNCING, Learning
from zkpy.zab.history import Entry, History
from zkpy.zab.leading import Leading
from zkpy.zab.peer import Peer
from zkpy.zab.progress import Progress
from zkpy.zab.quorum import Majority
from zkpy.zab.ready import Ready
from zkpy.zab.synchronizer import Synchronizer
from zkpy.zab.votes import Vote

Patch = tuple[Any, str, Any]

_hold = Peer.hold
_write = Member._write
_submit = Disk.submit
_commit = Peer.commit


def type_of(packet: bytes) -> int:
    return int.from_bytes(packet[:4], "big")


def early(*types: int) -> list[Patch]:
    """These words leave before the disk has what they speak of."""

    def hold(self: Peer, link: int, packet: bytes) -> None:
        if type_of(packet) in types:
            self.out.send.append((link, packet))
        else:
            _hold(self, link, packet)

    return [(Peer, "hold", hold)]


def synced_too_early() -> list[Patch]:
    def write(self: Member, core: Core, ready: Ready) -> None:
        _write(self, core, ready)
        core.synced(ready.token)

    return [(Member, "_write", write)]


def committed_without_a_quorum() -> list[Patch]:
    def commit_acked(self: Leading) -> None:
        if self.phase == 3 and self.peer.history.synced > self.peer.history.committed:
            self._commit(self.peer.history.synced)

    return [(Leading, "_commit_acked", commit_acked)]


def served_without_a_quorum() -> list[Patch]:
    original = Leading._check_history

    def check_history(self: Leading) -> None:
        with patch.object(Peer, "has_quorum", lambda self, sids: True):
            if self.peer.synced_token >= self._token > 0:
                original(self)

    return [(Leading, "_check_history", check_history)]


def everybody_votes() -> list[Patch]:
    def has_quorum(self: Majority, sids: Collection[int]) -> bool:
        return 2 * len(sids) > len(self.voters)

    return [(Majority, "has_quorum", has_quorum)]


def epoch_forgotten() -> list[Patch]:
    def accept_epoch(self: Peer, epoch: int) -> None:
        self.accepted_epoch = epoch

    return [(Peer, "accept_epoch", accept_epoch)]


def trunc_forgotten() -> list[Patch]:
    def on_trunc(self: Learning, packet: QuorumPacket) -> None:
        self.phase = SYNCING

    handlers = {**_learning_handlers(), packets.TRUNC: (on_trunc, (PROMISED,))}
    return [("zkpy.zab.following", "_HANDLERS", handlers)]


def cut_without_asking() -> list[Patch]:
    def can_cut(self: Learning, link: int, is_possible: bool) -> None:
        original(self, link, True)

    original = Learning.can_cut
    return [(Learning, "can_cut", can_cut)]


def applied_twice() -> list[Patch]:
    def commit(self: Peer, zxid: int) -> list[Entry]:
        committed = _commit(self, zxid)
        self.out.committed += committed[-1:]
        return committed

    return [(Peer, "commit", commit)]


def epoch_before_history() -> list[Patch]:
    def submit(self: Disk, ready: Ready) -> None:
        _submit(self, ready)
        if ready.epochs is not None:
            token, steps = self.pending[-1]
            self.pending[-1] = token, steps[-2:] + steps[:-2]

    return [(Disk, "submit", submit)]


def snapshot_labelled_too_new() -> list[Patch]:
    def send_snap(self: Synchronizer, learner: Progress) -> None:
        history = self._peer.history
        learner.is_snapping = True
        self._peer.out.snaps.append((learner.link, encode(packets.SNAP, history.proposed)))
        self._send_tail(learner, history.proposed)

    return [(Synchronizer, "_send_snap", send_snap)]


def shortest_history_leads() -> list[Patch]:
    def rank(self: Vote) -> tuple[int, int, int]:
        return self.epoch, 0, self.leader

    def promises(self: Leading, learner: Progress, packet: QuorumPacket) -> None:
        self._summary = (1 << 62, 0)
        on_ack_epoch(self, learner, packet)

    on_ack_epoch = Leading.on_ack_epoch
    handlers = {**_leading_handlers(), packets.ACKEPOCH: (promises, _leading_handlers()[packets.ACKEPOCH][1])}
    return [(Vote, "rank", property(rank)), ("zkpy.zab.leading", "_HANDLERS", handlers)]


def txn_left_out_of_synchronization() -> list[Patch]:
    def check_next(self: Learning, zxid: int) -> None:
        pass

    def entries(self: History, after: int, upto: int) -> list[Entry]:
        found = original(self, after, upto)
        return found[:-2] + found[-1:]

    original = History.entries
    return [(Learning, "_check_next", check_next), (History, "entries", entries), (History, "is_next", lambda *_: True)]


def digests_of_no_moment() -> list[Patch]:
    """No tree is known to be a mixture of moments."""
    return [(DataTree, "is_fuzzy", property(lambda tree: False, lambda tree, is_fuzzy: None))]


def children_counted() -> list[Patch]:
    """A sequential znode's number is how many siblings it has, as a parent's counter that lags behind comes to."""

    def create(
        self: Preparer, request: Request, type_: int, path: str, data: Any, entries: Any, flags: int, ttl_ms: int
    ) -> Any:
        parent = self.outstanding.find(path[: path.rindex("/")])
        if flags in opcodes.SEQUENTIAL_FLAGS and parent is not None:
            path = f"{path}{self.outstanding.child_count(parent):010d}"
            flags -= opcodes.PERSISTENT_SEQUENTIAL
        return original(self, request, type_, path, data, entries, flags, ttl_ms)

    original = Preparer._create
    return [(Preparer, "_create", create), ("zkpy.keeper.quick", "WAYS", {})]


def silent_sessions_forgotten() -> list[Patch]:
    """A new leader begins to count for a session only when it hears of it."""

    def restore(self: LiveSessions, timeouts: Iterable[tuple[int, int]], now_ms: int) -> None:
        for session_id, timeout_ms in timeouts:
            self.adopt(session_id, timeout_ms)

    return [(LiveSessions, "restore", restore)]


def watch_dropped() -> list[Patch]:
    """One event in four is not sent."""

    def fire(self: Keeper, changes: list[Change], zxid: int) -> None:
        if zxid % 4:
            original(self, changes, zxid)

    original = Keeper._fire
    return [(Keeper, "_fire", fire)]


def touches_forgotten() -> list[Patch]:
    def take_touched(self: KeeperLearning) -> list[tuple[int, int]]:
        original(self)
        return []

    original = KeeperLearning.take_touched
    return [(KeeperLearning, "take_touched", take_touched)]


def _learning_handlers() -> dict[int, Any]:
    from zkpy.zab import following

    return dict(following._HANDLERS)


def _leading_handlers() -> dict[int, Any]:
    from zkpy.zab import leading

    return dict(leading._HANDLERS)


#: Those that break no other law than that of locks.
OF_LOCKS = ("count children", "forget the silent")
#: Those that only clients notice: they are for whole replicas.
OF_THE_SERVICE = (
    *OF_LOCKS,
    "drop a watch",
    "forget touches",
    "compare digests of no moment",
)

#: name → its patches, and the story.
FAULTS: dict[str, tuple[Callable[[], list[Patch]], str]] = {
    "ack before sync": (synced_too_early, "the driver says that a txn is on disk while the disk still writes it"),
    "commit without quorum": (committed_without_a_quorum, "the leader's own disk is enough"),
    "serve without quorum": (served_without_a_quorum, "a leader begins though only it has its history"),
    "observers vote": (everybody_votes, "observers count in quorums (764, 769)"),
    "reuse an epoch": (epoch_forgotten, "acceptedEpoch is kept in memory only (335, 1081)"),
    "promise before disk": (
        lambda: early(packets.ACKEPOCH, packets.LEADERINFO),
        "an epoch is offered and promised before acceptedEpoch is on disk (1291)",
    ),
    "ack NEWLEADER before disk": (
        lambda: early(packets.ACK),
        "NEWLEADER is acknowledged before the history is on disk (2678, 3911, 4646, 4785)",
    ),
    "epoch before history": (epoch_before_history, "currentEpoch gets to disk before the history it speaks of (4643)"),
    "forget TRUNC": (trunc_forgotten, "TRUNC is read like DIFF"),
    "cut without asking": (
        cut_without_asking,
        "TRUNC is obeyed though a snapshot has what is to be cut: the process ends, at each start (1549)",
    ),
    "apply twice": (applied_twice, "the last txn of a batch is applied again"),
    "label a snapshot too new": (
        snapshot_labelled_too_new,
        "a snapshot is said to hold what is only proposed (790)",
    ),
    "shortest history leads": (
        shortest_history_leads,
        "votes are compared without zxids, and nobody minds",
    ),
    "drop a watch": (watch_dropped, "some events are not sent"),
    "forget touches": (touches_forgotten, "a learner does not tell the leader whom it has heard of"),
    "count children": (
        children_counted,
        "the numbers of sequential znodes come again, when znodes go (1026, 1046)",
    ),
    "forget the silent": (
        silent_sessions_forgotten,
        "who says nothing to a new leader never expires, and its ephemerals stay",
    ),
    "compare digests of no moment": (
        digests_of_no_moment,
        "a tree that came while it went on is compared with what no txn made it (the false alarms)",
    ),
    "leave a txn out": (
        txn_left_out_of_synchronization,
        "a txn of the history is not sent, and the learner does not look for holes (962, 4925)",
    ),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The fault is in, until the end of the block; no name, no fault."""
    with ExitStack() as stack:
        for owner, attribute, replacement in FAULTS[name][0]() if name else ():
            if isinstance(owner, str):
                stack.enter_context(patch(f"{owner}.{attribute}", replacement))
            else:
                stack.enter_context(patch.object(owner, attribute, replacement, create=True))
        yield
