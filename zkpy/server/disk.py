"""The disk: the log at the pace that this disk allows, and snapshots in slices between turns.

A sync of 0.2 ms is cheaper in the turn than a thread is; a sync of 10 ms is not to be waited for by reads. So the
time of each sync is measured, and the batch goes to a thread while syncs are slow.

    in the turn   append ─ write, sync ─ synced                           reads of this turn wait for the sync
    in a thread   append ┄ (write, sync) ┄ synced in a later turn         the next batch gathers meanwhile

Either way nothing is acknowledged before its sync. An error of a write or a sync is fatal: nobody knows then what is
on disk.

A member's Readies may also have epochs, a cut of the history or a whole tree for the disk. What is quick among that is
done in the turn like a batch; else the Ready waits for the thread, and all that come behind it wait too: disk work is
done strictly in the order of the Readies.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from time import perf_counter
from typing import Final

import trio

from zkpy.proto.zxid import zxid_text
from zkpy.replica import Replica
from zkpy.server.logs import get_log
from zkpy.storage import SnapshotWriter, Store
from zkpy.tree.datatree import DataTree
from zkpy.zab.ready import Ready

log = get_log("zkpy.disk")

#: Average time of a sync in the turn above which batches go to a thread, and time of one below which they come back.
SLOW_SYNC_S: Final = 0.002
QUICK_SYNC_S: Final = 0.001
#: What is not counted in that, since it takes longer on any disk: writing a batch of 100 kB is allowed a millisecond.
WRITE_S_PER_BYTE: Final = 1e-8
#: The most that one sync counts for: a single slow one (a new file, a neighbour) says little of the next.
MOST_SYNC_S: Final = 0.005
#: A snapshot up to this size (bytes) does not hold up the syncs of the log while it is made durable.
SMALL_SNAPSHOT: Final = 1 << 20
#: How long after it went to the thread a sync is tried in the turn, and how rarely at most: each try doubles the wait.
TRY_FIRST_S: Final = 0.25
TRY_MOST_S: Final = 8.0
#: Weight of the newest sync in the average.
_WEIGHT: Final = 0.1
#: What one slice of a snapshot writes: a fraction of a millisecond of work.
SLICE_BYTES: Final = 1 << 16
#: How much of the time of a turn a snapshot may add to it, so that it gets on under load, and the most in any case.
SLICES_SHARE: Final = 0.25
SLICES_MOST_S: Final = 0.005


class Disk:
    """Owner of the open log and of the snapshot under way."""

    def __init__(
        self,
        replica: Replica,
        store: Store,
        *,
        slow_warning_ms: int = 1000,
        prepare_tree: Callable[[DataTree], None] = lambda tree: None,
    ) -> None:
        """Keep what `replica` decides in `store`; a sync of `slow_warning_ms` or more is worth a line in the log.

        `prepare_tree` is called with each tree that takes the place of the one before.
        """
        self.prepare_tree = prepare_tree
        self.replica = replica
        self.store = store
        self.log = store.log
        self.slow_warning_ms = slow_warning_ms
        self.average_s = 0.0
        self.is_threaded = False
        # While threaded: when to try a sync in the turn again, and how long after the last try.
        self._try_at_s = inf
        self._try_after_s = TRY_FIRST_S
        self._statistics = replica.keeper.statistics
        # The newest token appended and not synced, for the thread; -1 when there is nothing to sync.
        self._token = -1
        self._is_syncing = False
        self._wake_sync = trio.Event()
        # A member's Readies that wait for the thread, the first one perhaps at work; then all others queue up here.
        self._queue: deque[Ready] = deque()
        # Questions of `Ready.cuts`; all disk work before them is done, and there is none before they are answered.
        self._cuts: deque[tuple[int, int]] = deque()
        #: A snapshot is due, once there is a tree that is known to be committed.
        self.owes_snapshot = False
        # The snapshot being written in slices, and the one that only has to be made durable.
        self._snapshot: SnapshotWriter | None = None
        self._written: SnapshotWriter | None = None
        self._snapshot_began_s = 0.0
        self._wake_finish = trio.Event()

    @property
    def has_work(self) -> bool:
        """Is there a slice to write in the next turn?"""
        return self._snapshot is not None

    @property
    def is_behind(self) -> bool:
        """Is a sync under way in the thread, so that writes will not commit in this turn?"""
        return self._is_syncing or self._token >= 0 or bool(self._queue)

    # --- the log -----------------------------------------------------------------------------------------------

    def carry_out(self, ready: Ready) -> None:
        """Append the batch; in the quick mode also sync it, and tell the replica."""
        if self._queue or ready.epochs is not None or ready.truncate >= 0 or ready.restore is not None:
            self._carry_out_member(ready)
            return
        self.log.extend(ready.append)
        size = sum([len(entry) for _, entry in ready.append])
        if self.is_behind or not self._may_sync_here(self.log.opens_file):
            self._token = ready.token
            self._wake_sync.set()
        else:
            started = perf_counter()
            self.log.commit(self.log.take())
            self._statistics.observe("sync_processor_batch_size", len(ready.append))
            took_s = perf_counter() - started
            self._note(took_s)
            self._choose_pace(max(0.0, took_s - size * WRITE_S_PER_BYTE))
            self.replica.synced(ready.token)
        if self.store.wants_snapshot(len(ready.append), size) or self.owes_snapshot:
            self.owes_snapshot = False
            self.start_snapshot()

    def _carry_out_member(self, ready: Ready) -> None:
        """The same with epochs, a cut or a tree, or behind a Ready that has one."""
        is_quick = ready.truncate < 0 and ready.restore is None
        if is_quick and not self.is_threaded and not self.is_behind and self._written is None:
            self.store.carry_out(ready)
            self.replica.synced(ready.token)
        else:
            self._queue.append(ready)
            self._wake_sync.set()

    def ask_cut(self, link: int, zxid: int) -> None:
        """Can the history be cut there? The answer comes in a later turn, for logs have to be read."""
        self._cuts.append((link, zxid))
        self._wake_sync.set()

    async def sync_slowly(self, finish_turn: Callable[[], None]) -> None:
        """Write and sync in a thread whatever `carry_out` leaves, for ever; `finish_turn` goes on with its outcome."""
        while True:
            await self._wake_sync.wait()
            self._wake_sync = trio.Event()
            while self._cuts:
                link, zxid = self._cuts.popleft()
                self.replica.can_cut(link, await trio.to_thread.run_sync(self.store.can_cut, zxid))
                finish_turn()
            token, self._token = self._token, -1
            if token < 0:
                while self._queue:
                    await self._carry_out_slowly(self._queue[0])
                    finish_turn()
                continue
            if self._queue:
                self._wake_sync.set()
            opens_file = self.log.opens_file
            batch = self.log.take()
            started = perf_counter()
            if self.is_threaded or not self._may_sync_here(opens_file):
                self._is_syncing = True
                await trio.to_thread.run_sync(self.log.commit, batch)
                self._is_syncing = False
            else:
                # What came while the thread was at work. Left to the thread it would have company again at its end.
                self.log.commit(batch)
            self._note(perf_counter() - started)
            self.replica.synced(token)
            finish_turn()

    async def _carry_out_slowly(self, ready: Ready) -> None:
        """Do the first Ready of the queue in a thread."""
        if ready.truncate >= 0 or ready.restore is not None:
            # Its tree is about to go.
            if self._snapshot is not None:
                self._snapshot.abort()
                self._snapshot = None
            while self._written is not None:
                await trio.sleep(0.01)
        await trio.to_thread.run_sync(self.store.carry_out, ready)
        self._queue.popleft()
        if self.store.tree is not self.replica.keeper.tree:
            self.prepare_tree(self.store.tree)
            self.replica.install(self.store.tree)
            log.info("tree replaced", zxid=zxid_text(self.store.tree.last_zxid), nodes=self.store.tree.node_count)
        self.replica.synced(ready.token)

    def _may_sync_here(self, opens_file: bool) -> bool:
        """Is the batch to be synced in the turn: because syncs are quick, or to see whether they are again?

        `opens_file`: a file begins with it.
        """
        written = self._written
        if opens_file and (self._snapshot is not None or written is not None):
            return False  # several syncs, while the disk has a snapshot to write: not for everybody to wait for
        if written is not None and written.is_syncing and written.size > SMALL_SNAPSHOT:
            return False  # a sync of the log would wait for much of the snapshot to be written
        return not self.is_threaded or perf_counter() >= self._try_at_s

    def _choose_pace(self, took_s: float) -> None:
        """A sync in the turn took so long, beyond what its bytes explain: where is the next one to be done?

        Only these tell what the disk needs. One in the thread also waits for the interpreter, for milliseconds while
        the turns are busy: judged by those a server would stay in the thread for ever once it is there.
        """
        if self.is_threaded:
            if took_s < QUICK_SYNC_S:
                self.is_threaded = False
                self.average_s = took_s
                log.info("syncs are quick again: back in the turn", took_ms=round(took_s * 1000, 1))
                return
            self._try_after_s = min(2 * self._try_after_s, TRY_MOST_S)
        else:
            self.average_s += (min(took_s, MOST_SYNC_S) - self.average_s) * _WEIGHT
            if self.average_s <= SLOW_SYNC_S:
                return
            self.is_threaded = True
            self._try_after_s = TRY_FIRST_S
            log.info("syncs are slow: they leave the turn", average_ms=round(self.average_s * 1000, 1))
        self._try_at_s = perf_counter() + self._try_after_s

    def _note(self, took_s: float) -> None:
        """Count a sync, and tell of a slow one."""
        took_ms = int(took_s * 1000)
        statistics = self._statistics
        statistics.observe("fsynctime", took_ms)
        if took_ms >= self.slow_warning_ms:
            statistics.slow_syncs += 1
            log.warning("slow sync of the txn log", took_ms=took_ms, file=self.log.current_path)

    # --- snapshots ---------------------------------------------------------------------------------------------

    def start_snapshot(self) -> None:
        """Begin a snapshot and a new log, unless one is still under way."""
        if self._snapshot is not None or self._written is not None:
            log.warning("too busy to snap, skipping", hint="snapCount is small for this tree")
            return
        self._snapshot_began_s = perf_counter()
        self._snapshot = self.store.begin_snapshot()

    def continue_snapshot(self, turn_s: float) -> None:
        """Write a slice, after a turn that took `turn_s`; more of them if the turn was long."""
        until = perf_counter() + min(turn_s * SLICES_SHARE, SLICES_MOST_S)
        while self._snapshot is not None:
            if self._snapshot.step(SLICE_BYTES):
                self._written, self._snapshot = self._snapshot, None
                self._wake_finish.set()
            if perf_counter() >= until:
                return

    async def finish_snapshots(self) -> None:
        """Make written snapshots durable in a thread, for ever."""
        while True:
            await self._wake_finish.wait()
            self._wake_finish = trio.Event()
            written = self._written
            if written is not None:
                await trio.to_thread.run_sync(written.finish)
                self._written = None
                self._statistics.snapshots += 1
                took_ms = round((perf_counter() - self._snapshot_began_s) * 1000)
                self._statistics.observe("snapshottime", took_ms)
                log.info("snapshot taken", file=written.path, took_ms=took_ms)

    def close(self) -> None:
        """Leave no half-written snapshot behind."""
        for writer in (self._snapshot, self._written):
            if writer is not None:
                writer.abort()
        self._snapshot = self._written = None
