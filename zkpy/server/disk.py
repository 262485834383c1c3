"""The disk: the log at the pace that this disk allows, and snapshots in slices between turns.

A sync of 0.2 ms is cheaper in the turn than a thread is; a sync of 10 ms is not to be waited for by reads. So the
time of each sync is measured, and the batch goes to a thread while syncs are slow.

    in the turn   append ─ write, sync ─ synced                           reads of this turn wait for the sync
    in a thread   append ┄ (write, sync) ┄ synced in a later turn         the next batch gathers meanwhile

What a sync takes is only known in the turn: a thread also waits for the interpreter, for milliseconds while the turns
are busy. So now and then one is tried in the turn again, unless even the quickest in the thread was slow.

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
from zkpy.storage.txnlog import Batch
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
#: But after one like this reads had better not wait for the next, whatever it says.
STALL_S: Final = 0.1
#: A snapshot up to this size (bytes) does not hold up the syncs of the log while it is made durable.
SMALL_SNAPSHOT: Final = 1 << 20
#: How long after it went to the thread a sync is tried in the turn, and how rarely at most: each try doubles the wait.
TRY_FIRST_S: Final = 0.25
TRY_MOST_S: Final = 8.0
#: A disk is not tried as long as each sync in the thread takes longer than this; some would not on a quick one.
TRY_BELOW_S: Final = 0.005
#: Of the time that a sync takes in the thread, how much to wait before it for those whose writes shared the last one:
#: they have their answers, and will be back at once. They would wait for two syncs else. And the most and least of it.
GATHER_SHARE: Final = 0.2
GATHER_MOST_S: Final = 0.005
GATHER_LEAST_S: Final = 0.001
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
        # The quickest sync in the thread since the last one in the turn.
        self._quickest_s = inf
        self._statistics = replica.keeper.statistics
        # The newest token appended and not synced, for the thread; -1 when there is nothing to sync.
        self._token = -1
        # How many txns those are, and how many bytes.
        self._txns = self._bytes = 0
        # How many writes had their answers after the last sync in the thread, or were waiting then for the next.
        self._crowd = 0
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
        if self._queue or _is_special(ready):
            self._carry_out_member(ready)
            return
        size = sum([len(entry) for _, entry in ready.append])
        self.log.extend(ready.append)
        if self.is_behind or not self._may_sync_here():
            self._leave_to_thread(ready, size)
        else:
            self._sync_here(len(ready.append), size)
            self.replica.synced(ready.token)
        self._count(ready, size)

    def _leave_to_thread(self, ready: Ready, size: int) -> None:
        """What was appended is synced by `sync_slowly`, together with what else is."""
        self._token = ready.token
        self._txns += len(ready.append)
        self._bytes += size
        self._wake_sync.set()

    def _count(self, ready: Ready, size: int) -> None:
        """Take a snapshot when there are enough new txns."""
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
            if self._token >= 0:
                await self._sync_batch()
            elif self._queue:
                await self._carry_out_slowly(self._queue[0])
            else:
                continue
            finish_turn()
            if self._cuts or self._token >= 0 or self._queue:
                self._wake_sync.set()

    async def _sync_batch(self) -> None:
        """Sync all that was appended and left to the thread."""
        if self.is_threaded:
            await self._gather()
        token, self._token = self._token, -1
        txns, self._txns = self._txns, 0
        size, self._bytes = self._bytes, 0
        if self._may_sync_here():
            # Also what came while the thread was at work: left to it that would have company again at its end, and so
            # on, and the disk would never be tried under load.
            self._sync_here(txns, size)
        else:
            self._is_syncing = True
            took_s = await trio.to_thread.run_sync(self._commit, self.log.take())
            self._is_syncing = False
            self._note(took_s, txns)
            if self.is_threaded:
                self.average_s += (took_s - self.average_s) * _WEIGHT
                self._quickest_s = min(self._quickest_s, took_s - size * WRITE_S_PER_BYTE)
            self._crowd = txns + self._txns
        self.replica.synced(token)

    async def _gather(self) -> None:
        """Wait until as many writes are there as there were, but not long."""
        most_s = min(self.average_s * GATHER_SHARE, GATHER_MOST_S)
        if self._txns < self._crowd and most_s >= GATHER_LEAST_S:
            with trio.move_on_after(most_s):
                while self._txns < self._crowd and not self._queue:
                    await self._wake_sync.wait()
                    self._wake_sync = trio.Event()

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
        while self._queue and not _is_special(self._queue[0]):
            # One sync for all of them: one for each, and more would come meanwhile than a slow disk gets done.
            plain = self._queue.popleft()
            size = sum([len(entry) for _, entry in plain.append])
            self.log.extend(plain.append)
            self._leave_to_thread(plain, size)
            self._count(plain, size)

    def _may_sync_here(self) -> bool:
        """Is what was appended to be synced in the turn: because syncs are quick, or to see whether they are again?"""
        written = self._written
        if self.log.opens_file and (self._snapshot is not None or written is not None):
            return False  # several syncs, while the disk has a snapshot to write: not for everybody to wait for
        if written is not None and written.is_syncing and written.size > SMALL_SNAPSHOT:
            return False  # a sync of the log would wait for much of the snapshot to be written
        if not self.is_threaded:
            return True
        return self._quickest_s <= TRY_BELOW_S and perf_counter() >= self._try_at_s

    def _sync_here(self, txns: int, size: int) -> None:
        """Sync so many txns, of so many bytes, and see what that says of the disk."""
        took_s = self._commit(self.log.take())
        self._note(took_s, txns)
        self._choose_pace(max(0.0, took_s - size * WRITE_S_PER_BYTE))

    def _commit(self, batch: Batch) -> float:
        """Write and sync, and say how long it took: without the way to the thread and back."""
        started = perf_counter()
        self.log.commit(batch)
        return perf_counter() - started

    def _choose_pace(self, took_s: float) -> None:
        """A sync in the turn took so long, beyond what its bytes explain: where is the next one to be done?"""
        if self.is_threaded:
            if took_s < QUICK_SYNC_S:
                self.is_threaded = False
                self.average_s = took_s
                log.info("syncs are quick again: back in the turn", took_ms=_ms(took_s))
                return
            self._try_after_s = min(2 * self._try_after_s, TRY_MOST_S)
        else:
            self.average_s += (min(took_s, MOST_SYNC_S) - self.average_s) * _WEIGHT
            if self.average_s <= SLOW_SYNC_S and took_s < STALL_S:
                return
            self.is_threaded = True
            self._try_after_s = TRY_FIRST_S
            self._crowd = 0
            log.info("syncs are slow: they leave the turn", average_ms=_ms(self.average_s), last_ms=_ms(took_s))
        self._quickest_s = inf
        self._try_at_s = perf_counter() + self._try_after_s

    def _note(self, took_s: float, txns: int) -> None:
        """Count a sync of so many txns, and tell of a slow one."""
        took_ms = int(took_s * 1000)
        statistics = self._statistics
        statistics.observe("sync_processor_batch_size", txns)
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


def _is_special(ready: Ready) -> bool:
    """Has it more for the disk than txns to append?"""
    return ready.epochs is not None or ready.truncate >= 0 or ready.restore is not None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
