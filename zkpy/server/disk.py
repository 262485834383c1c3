"""The disk: the log at the pace that this disk allows, and snapshots in slices between turns.

A sync of 0.2 ms is cheaper in the turn than a thread is; a sync of 10 ms is not to be waited for by reads. So the
time of each sync is measured, and the batch goes to a thread once it has been slow for a while (and back).

    in the turn   append ─ write ─ sync ─ synced                          reads of this turn wait for the sync
    in a thread   append ┄ (write ─ sync) ┄ synced in a later turn        the next batch gathers meanwhile

Either way nothing is acknowledged before its sync. An error of a write or a sync is fatal: nobody knows then what is
on disk.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final

import trio

from zkpy.keeper.statistics import Statistics
from zkpy.replica import Replica
from zkpy.server.logs import get_log
from zkpy.storage import SnapshotWriter, Store
from zkpy.zab.ready import Ready

log = get_log("zkpy.disk")

#: Average time of a sync above which batches go to a thread, and below which they come back into the turn.
SLOW_SYNC_S: Final = 0.002
QUICK_SYNC_S: Final = 0.001
#: Weight of the newest sync in the average.
_WEIGHT: Final = 0.1
#: What one slice of a snapshot may write: about two milliseconds of work.
SLICE_BYTES: Final = 1 << 18


class Disk:
    """Owner of the open log and of the snapshot under way."""

    def __init__(self, replica: Replica, store: Store, *, slow_warning_ms: int = 1000) -> None:
        self.replica = replica
        self.store = store
        self.log = store.log
        self.statistics: Statistics = replica.keeper.statistics
        self.slow_warning_ms = slow_warning_ms
        self.average_s = 0.0
        self.is_threaded = False
        self.snapshot: SnapshotWriter | None = None
        self._snapshot_started_s = 0.0
        self._finishing = False
        # The newest token appended and not synced, for the thread; -1 when there is nothing to sync.
        self._token = -1
        self._syncing = False
        self._wake = trio.Event()

    # --- the log -----------------------------------------------------------------------------------------------

    def carry_out(self, ready: Ready) -> None:
        """Append the batch; in the quick mode also sync it, and tell the replica."""
        append = self.log.append
        for zxid, entry in ready.append:
            append(zxid, entry)
        if self.is_threaded or self._syncing:
            self._token = ready.token
            self._wake.set()
        else:
            self.log.write()
            started = perf_counter()
            self.log.sync()
            self._measure(perf_counter() - started)
            self.replica.synced(ready.token)
        if self.store.wants_snapshot():
            self.start_snapshot()

    async def run(self, turn_done: Callable[[], None]) -> None:
        """Sync in a thread whatever is handed over, for ever; `turn_done` goes on with what that committed."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            token, self._token = self._token, -1
            if token < 0:
                continue
            self._syncing = True
            batch = self.log.take()
            started = perf_counter()
            await trio.to_thread.run_sync(self.log.commit, batch)
            self._measure(perf_counter() - started)
            self._syncing = False
            self.replica.synced(token)
            turn_done()

    def _measure(self, took_s: float) -> None:
        self.average_s += (took_s - self.average_s) * _WEIGHT
        took_ms = int(took_s * 1000)
        statistics = self.statistics
        statistics.syncs += 1
        statistics.sync_total_ms += took_ms
        statistics.sync_max_ms = max(statistics.sync_max_ms, took_ms)
        if took_ms >= self.slow_warning_ms:
            statistics.slow_syncs += 1
            log.warning("slow sync of the txn log", took_ms=took_ms, file=self.log.current_path)
        if self.is_threaded:
            if self.average_s < QUICK_SYNC_S:
                self.is_threaded = False
        elif self.average_s > SLOW_SYNC_S:
            self.is_threaded = True
            log.info("syncs are slow: they leave the turn", average_ms=round(self.average_s * 1000, 1))
