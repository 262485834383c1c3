"""Where the log is synced: in the turn while the disk is quick, in a thread while it is slow, and back again."""

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
from zkpy.storage.files import list_files
from zkpy.storage.txnlog import Batch


class SlowDisk:
    """A log's `commit` that takes as long as it is told, and the clock it takes that on: no other time passes there."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.delay_s = 0.0
        self.now_s = 0.0
        monkeypatch.setattr(disk_module, "perf_counter", lambda: self.now_s)
        self._commit = store.log.commit
        store.log.commit = self  # type: ignore[method-assign,assignment]

    def __call__(self, batch: Batch) -> None:
        self.now_s += self.delay_s
        self._commit(batch)


def test_one_slow_sync_says_nothing_and_neither_does_a_large_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "SLOW_SYNC_S", 0.2)
    monkeypatch.setattr(disk_module, "MOST_SYNC_S", 0.5)
    with Store(options(tmp_path, pre_alloc=0)) as store:
        slow = SlowDisk(store, monkeypatch)
        replica = FakeReplica(store.tree)
        disk = Disk(cast(Replica, replica), store)
        slow.delay_s = 0.6
        disk.carry_out(ready_with(1, append=[(1, bytes(40))]))
        assert (disk.average_s > 0, disk.is_threaded) == (True, False)
        slow.delay_s = 0.0
        disk.carry_out(ready_with(2, append=[(2, bytes(40))]))
        # As long as a thousand bytes may take here.
        monkeypatch.setattr(disk_module, "WRITE_S_PER_BYTE", 0.001)
        before = disk.average_s
        slow.delay_s = 0.6
        disk.carry_out(ready_with(3, append=[(3, bytes(1000))]))
        assert disk.average_s < before
        count = 3
        while not disk.is_threaded:
            count += 1
            disk.carry_out(ready_with(count, append=[(count, bytes(40))]))
            assert count < 12, "slow one after the other, and still in the turn"
        assert replica.told == list(range(1, count + 1))


def test_slow_syncs_leave_the_turn_and_quick_ones_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "TRY_FIRST_S", 0.3)
    monkeypatch.setattr(disk_module, "QUICK_SYNC_S", 0.5)
    monkeypatch.setattr(disk_module, "MOST_SYNC_S", 10.0)
    with Store(options(tmp_path, pre_alloc=0)) as store:
        slow = SlowDisk(store, monkeypatch)
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
                slow.now_s += 0.8
                append()
                assert replica.told == [1, 2, 3, 4, 5, 6]
                assert not disk.is_threaded
                append()
                assert replica.told == [1, 2, 3, 4, 5, 6, 7]
                nursery.cancel_scope.cancel()

        trio.run(main)


def test_the_log_that_begins_with_a_snapshot_is_begun_in_the_thread(tmp_path: Path) -> None:
    with Store(options(tmp_path, pre_alloc=0)) as store:
        replica = FakeReplica(store.tree)
        disk = Disk(cast(Replica, replica), store)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disk.sync_slowly, lambda: None)
                disk.carry_out(ready_with(1, append=[(1, bytes(40))]))
                assert replica.told == [1], "there is no snapshot to write"
                disk.start_snapshot()
                disk.carry_out(ready_with(2, append=[(2, bytes(40))]))
                disk.carry_out(ready_with(3, append=[(3, bytes(40))]))
                assert replica.told == [1]
                await until(lambda: not disk.is_behind)
                assert replica.told == [1, 3]
                assert not disk.is_threaded
                disk.carry_out(ready_with(4, append=[(4, bytes(40))]))
                assert replica.told == [1, 3, 4], "it has begun: back in the turn"
                nursery.cancel_scope.cancel()

        trio.run(main)
        disk.close()
        assert [path.name for _, path in list_files(store.log_dir, "log")] == ["log.1", "log.2"]
