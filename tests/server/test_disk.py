"""Where the log is synced: in the turn while the disk is quick, in a thread while it is slow, and back again."""

import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from tests.server.test_member_disk import FakeReplica, ready_with, until
from tests.storage.test_store import options
from zkpy.replica import Replica
from zkpy.server import disk as disk_module
from zkpy.server.disk import Disk
from zkpy.storage import Store
from zkpy.storage.files import list_files
from zkpy.storage.txnlog import Batch

LIMIT_S = 30


class SlowDisk:
    """A log's `commit` that takes as long as it is told, and the clock it takes that on: no other time passes there."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.delay_s = 0.0
        self.now_s = 0.0
        #: How many commits have begun; they end while this is set.
        self.begun = 0
        self.moves = threading.Event()
        self.moves.set()
        #: Those done in the turn.
        self.in_turn = 0
        self._turns = threading.get_ident()
        monkeypatch.setattr(disk_module, "perf_counter", lambda: self.now_s)
        self._commit = store.log.commit
        store.log.commit = self  # type: ignore[method-assign,assignment]

    def __call__(self, batch: Batch) -> None:
        self.begun += 1
        self.in_turn += threading.get_ident() == self._turns
        assert self.moves.wait(LIMIT_S)
        self.now_s += self.delay_s
        self._commit(batch)


class Rig:
    """A disk, its clock, and the txns that it is given, one in a Ready."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slow = SlowDisk(store, monkeypatch)
        self.replica = FakeReplica(store.tree)
        self.disk = Disk(cast(Replica, self.replica), store)
        self.count = 0

    @property
    def synced(self) -> int:
        """How many are."""
        assert self.replica.told == sorted(self.replica.told, key=lambda one: cast(int, one))
        return cast(int, self.replica.told[-1]) if self.replica.told else 0

    def append(self, count: int = 1, size: int = 40) -> None:
        for _ in range(count):
            self.count += 1
            self.disk.carry_out(ready_with(self.count, append=[(self.count, bytes(size))]))

    def leave_the_turn(self) -> None:
        """A disk with syncs of 10 ms, and a server that knows that."""
        self.slow.delay_s = 0.01
        while not self.disk.is_threaded:
            self.append()
            assert self.count < 20, "slow one after the other, and still in the turn"

    async def idle(self) -> None:
        with trio.fail_after(LIMIT_S):
            while self.disk.is_behind:
                await trio.lowlevel.checkpoint()

    def play(self, story: Callable[[], Awaitable[None]], clock: MockClock | None = None) -> None:
        """Tell the story while the disk's task runs."""

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.disk.sync_slowly, lambda: None)
                await story()
                nursery.cancel_scope.cancel()

        trio.run(main, clock=clock)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with Store(options(tmp_path, pre_alloc=0)) as store:
        yield Rig(store, monkeypatch)


# --- the pace -------------------------------------------------------------------------------------------------------


def test_one_slow_sync_says_nothing_and_neither_does_a_large_batch(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, slow = rig.disk, rig.slow
    slow.delay_s = 0.09
    rig.append()
    assert (disk.average_s > 0, disk.is_threaded) == (True, False)
    slow.delay_s = 0.0
    rig.append()
    # As long as a thousand bytes may take here.
    monkeypatch.setattr(disk_module, "WRITE_S_PER_BYTE", 0.0001)
    before = disk.average_s
    slow.delay_s = 0.09
    rig.append(size=1000)
    assert disk.average_s < before
    while not disk.is_threaded:
        rig.append()
        assert rig.count < 12, "slow one after the other, and still in the turn"
    assert rig.replica.told == list(range(1, rig.count + 1))
    assert slow.in_turn == rig.count


def test_after_a_sync_that_held_up_everybody_the_next_does_not(rig: Rig) -> None:
    rig.append(5)
    rig.slow.delay_s = 2 * disk_module.STALL_S
    rig.append()
    assert (rig.slow.in_turn, rig.disk.is_threaded) == (6, True)
    rig.append()
    assert (rig.slow.in_turn, rig.synced) == (6, 6)


def test_slow_syncs_leave_the_turn_and_quick_ones_come_back(rig: Rig) -> None:
    disk, slow = rig.disk, rig.slow

    async def story() -> None:
        rig.append()
        assert rig.synced == 1, "synced in the turn"
        rig.leave_the_turn()
        in_turn = slow.in_turn
        for _ in range(100):  # a second, and tries were due after a quarter of one
            rig.append()
            assert rig.synced == rig.count - 1
            await rig.idle()
            assert rig.synced == rig.count, "synced in the thread"
        assert slow.in_turn == in_turn, "no reads are held up to try a disk that is known to be slow"
        slow.delay_s = 0.0
        rig.append()
        await rig.idle()
        rig.append()
        assert rig.synced == rig.count, "the thread has found out, and the next one is in the turn"
        assert not disk.is_threaded
        rig.append()
        assert (rig.synced, slow.in_turn) == (rig.count, in_turn + 2)

    rig.play(story)


def test_a_try_that_failed_is_not_repeated_soon(rig: Rig) -> None:
    slow = rig.slow

    async def write(delay_s: float) -> bool:
        """Is it synced in the turn?"""
        before = slow.in_turn
        slow.delay_s = delay_s
        rig.append()
        await rig.idle()
        return slow.in_turn > before

    async def story() -> None:
        rig.leave_the_turn()
        waits = []
        for _ in range(8):
            assert not await write(0.001), "the first after a try"
            began_s = slow.now_s
            while not await write(0.004):
                slow.now_s += 0.1
                assert slow.now_s < 60
            waits.append(round(slow.now_s - began_s, 1))
        assert rig.disk.is_threaded
        assert waits == sorted(waits)
        assert waits[0] < 0.5 < 4 < waits[-2] <= waits[-1] < 9

    rig.play(story)


# --- groups ---------------------------------------------------------------------------------------------------------


def test_what_comes_during_a_sync_shares_the_next(rig: Rig) -> None:
    slow = rig.slow

    async def story() -> None:
        rig.leave_the_turn()
        begun = slow.begun
        slow.moves.clear()
        rig.append()
        await until(lambda: slow.begun == begun + 1)
        rig.append(50)
        assert rig.synced == rig.count - 51, "nothing is acknowledged before its sync"
        slow.moves.set()
        await rig.idle()
        assert (slow.begun, rig.synced) == (begun + 2, rig.count)
        told = rig.disk.replica.keeper.statistics.summaries["sync_processor_batch_size"]
        assert told.max == 50

    rig.play(story)


def test_under_load_without_a_pause_the_pace_changes_back_too(rig: Rig) -> None:
    slow = rig.slow

    async def story() -> None:
        rig.leave_the_turn()
        slow.delay_s = 0.001
        slow.now_s += 10
        begun, in_turn = slow.begun, slow.in_turn
        slow.moves.clear()
        rig.append()
        await until(lambda: slow.begun > begun)
        rig.append()  # is there when the sync ends, as always under load
        slow.delay_s = 0.0
        slow.moves.set()
        await rig.idle()
        assert (slow.begun, slow.in_turn, rig.synced) == (begun + 2, in_turn + 1, rig.count)
        assert not rig.disk.is_threaded

    rig.play(story)


@pytest.mark.parametrize("come", [2, 1])
def test_those_whose_writes_shared_a_sync_are_waited_for_a_moment(rig: Rig, come: int) -> None:
    slow = rig.slow
    clock = MockClock()  # stands still

    async def story() -> None:
        rig.leave_the_turn()
        for _ in range(30):
            rig.append()
            while rig.disk.is_behind:
                await trio.lowlevel.checkpoint()
        begun = slow.begun
        slow.moves.clear()
        rig.append(2)
        while slow.begun == begun:
            await trio.lowlevel.checkpoint()
        rig.append(3)
        slow.moves.set()
        while rig.synced < rig.count - 3:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert slow.begun == begun + 1, "two have their answers and will say the next thing at once"
        rig.append(come)
        await trio.testing.wait_all_tasks_blocked()
        if come < 2:
            assert slow.begun == begun + 1
            clock.jump(disk_module.GATHER_MOST_S)
        while rig.disk.is_behind:
            await trio.lowlevel.checkpoint()
        assert (slow.begun, rig.synced) == (begun + 2, rig.count)

    rig.play(story, clock)


def test_what_waits_behind_epochs_shares_a_sync(rig: Rig) -> None:
    rig.disk.store.open_epochs()
    slow = rig.slow

    async def story() -> None:
        rig.leave_the_turn()
        begun = slow.begun
        rig.count += 1
        rig.disk.carry_out(ready_with(rig.count, epochs=(1, 1)))
        rig.append(100)
        await rig.idle()
        assert (slow.begun, rig.synced) == (begun + 1, rig.count)

    rig.play(story)


# --- files ----------------------------------------------------------------------------------------------------------


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
