"""Where the log is synced: in the turn while the disk is quick, in a thread while it is slow, and back again."""

import time
from pathlib import Path
from typing import cast

import pytest
import trio

from tests.server.test_member_disk import FakeReplica, ready_with, until
from tests.storage.test_store import options
from zkpy.replica import Replica
from zkpy.server import disk as disk_module
from zkpy.server.disk import Disk
from zkpy.storage import Store
from zkpy.storage.txnlog import Batch


class SlowDisk:
    """A log's `commit` that takes as long as it is told."""

    def __init__(self, store: Store) -> None:
        self.delay_s = 0.0
        self._commit = store.log.commit
        store.log.commit = self  # type: ignore[method-assign,assignment]

    def __call__(self, batch: Batch) -> None:
        time.sleep(self.delay_s)
        self._commit(batch)


def test_slow_syncs_leave_the_turn_and_quick_ones_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "TRY_FIRST_S", 0.3)
    # No pace of the machine decides here: quick is what does not sleep, slow what sleeps for a second.
    monkeypatch.setattr(disk_module, "QUICK_SYNC_S", 0.5)
    with Store(options(tmp_path, pre_alloc=0)) as store:
        slow = SlowDisk(store)
        replica = FakeReplica(store.tree)
        disk = Disk(cast(Replica, replica), store)
        zxid = 0

        def append() -> None:
            nonlocal zxid
            zxid += 1
            disk.carry_out(ready_with(zxid, append=[(zxid, bytes(40))]))

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disk.sync_slowly, lambda: None)
                append()
                assert replica.told == [1], "synced in the turn"
                slow.delay_s = 1.0
                append()
                assert disk.is_threaded
                append()
                assert replica.told == [1, 2]
                assert disk.is_behind
                await until(lambda: not disk.is_behind)
                assert replica.told == [1, 2, 3], "synced in the thread"
                append()  # the time to try has come, and it is still slow
                assert replica.told == [1, 2, 3, 4]
                assert disk.is_threaded
                slow.delay_s = 0.0
                append()
                assert replica.told == [1, 2, 3, 4], "the next try is not due yet"
                await until(lambda: not disk.is_behind)
                await trio.sleep(0.8)
                append()
                assert replica.told == [1, 2, 3, 4, 5, 6]
                assert not disk.is_threaded
                append()
                assert replica.told == [1, 2, 3, 4, 5, 6, 7]
                nursery.cancel_scope.cancel()

        trio.run(main)
