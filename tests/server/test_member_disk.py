"""A member's disk work: in the order of the Readies, whether it is done in the turn or in the thread."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from tests.storage.histories import History, dump
from tests.storage.test_member import names, tree_of
from tests.storage.test_store import options
from zkpy.keeper.statistics import Statistics
from zkpy.proto.zxid import make_zxid
from zkpy.replica import Replica
from zkpy.server.disk import Disk
from zkpy.storage import Store
from zkpy.tree.datatree import DataTree
from zkpy.zab.ready import Ready

LIMIT_S = 30


class FakeReplica:
    """Remembers in which order it was told of syncs and trees."""

    def __init__(self, tree: DataTree) -> None:
        self.keeper = SimpleNamespace(tree=tree, statistics=Statistics(0))
        self.told: list[int | str | tuple[int, bool]] = []

    def synced(self, token: int) -> None:
        self.told.append(token)

    def can_cut(self, link: int, is_possible: bool) -> None:
        self.told.append((link, is_possible))

    def install(self, tree: DataTree) -> None:
        self.keeper.tree = tree
        self.told.append("tree")


def ready_with(token: int, **fields: Any) -> Ready:
    ready = Ready()
    ready.token = token
    for name, value in fields.items():
        setattr(ready, name, value)
    return ready


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT_S):
        while not condition():
            await trio.sleep(0.005)


@pytest.mark.parametrize("is_threaded", [False, True])
def test_disk_work_is_done_in_the_order_of_the_readies(tmp_path: Path, is_threaded: bool) -> None:
    history = History(3)
    for _ in range(30):
        history.step()
    entries = history.entries
    with Store(options(tmp_path, pre_alloc=0)) as store:
        epochs = store.open_epochs()
        replica = FakeReplica(store.tree)
        prepared: list[DataTree] = []
        disk = Disk(cast(Replica, replica), store, prepare_tree=prepared.append)
        disk.is_threaded = is_threaded

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disk.sync_slowly, lambda: None)
                disk.carry_out(ready_with(1, append=entries[:10]))
                disk.carry_out(ready_with(2, epochs=(1, 0)))
                disk.carry_out(ready_with(3, append=entries[10:20]))
                assert replica.told == ([] if is_threaded else [1, 2, 3])
                store.tree = replica.keeper.tree = tree_of(entries[:20])
                disk.carry_out(ready_with(4, truncate=12, epochs=(1, 1)))
                disk.carry_out(ready_with(5, append=entries[12:15]))
                disk.carry_out(ready_with(6, append=entries[15:18]))
                assert disk.is_behind
                await until(lambda: not disk.is_behind)
                nursery.cancel_scope.cancel()

        trio.run(main)
        assert replica.told == [1, 2, 3, "tree", 4, 6], "txns that wait together are synced together"
        assert prepared == [store.tree]
        assert dump(store.tree) == dump(tree_of(entries[:12]))
        assert (epochs.accepted, epochs.current) == (1, 1)
    with Store(options(tmp_path)) as store:
        assert dump(store.tree) == dump(tree_of(entries[:18]))


def test_the_disk_says_where_the_history_can_be_cut(tmp_path: Path) -> None:
    history = History(3)
    for _ in range(20):
        history.step()
    with Store(options(tmp_path, pre_alloc=0)) as store:
        store.restore(tree_of(history.entries[:10]))
        store.log.extend(history.entries[10:])
        store.log.commit(store.log.take())
        replica = FakeReplica(store.tree)
        disk = Disk(cast(Replica, replica), store)
        told: list[int] = []

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disk.sync_slowly, lambda: told.append(len(replica.told)))
                disk.ask_cut(1, 10)
                disk.ask_cut(2, 9)
                disk.ask_cut(3, 15)
                assert replica.told == [], "not in the turn: logs have to be read"
                await until(lambda: len(told) == 3)
                nursery.cancel_scope.cancel()

        trio.run(main)
        assert replica.told == [(1, True), (2, False), (3, True)]
        assert told == [1, 2, 3], "each answer has a turn of its own"


def test_a_tree_from_the_leader_takes_the_place_of_a_snapshot_under_way(tmp_path: Path) -> None:
    history = History(3)
    for _ in range(30):
        history.step()
    sent = History(9, first_zxid=make_zxid(2, 1))
    for _ in range(20):
        sent.step()
    with Store(options(tmp_path, pre_alloc=0)) as store:
        store.open_epochs()
        replica = FakeReplica(store.tree)
        disk = Disk(cast(Replica, replica), store)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disk.sync_slowly, lambda: None)
                nursery.start_soon(disk.finish_snapshots)
                disk.carry_out(ready_with(1, append=history.entries))
                old = store.tree
                disk.start_snapshot()
                assert old.old_acls != []
                disk.carry_out(ready_with(2, restore=sent.tree, epochs=(2, 2)))
                await until(lambda: not disk.is_behind)
                assert old.old_acls == []
                assert not disk.has_work
                nursery.cancel_scope.cancel()

        trio.run(main)
        assert replica.told == [1, "tree", 2]
        assert replica.keeper.tree is sent.tree
        assert names(tmp_path) == ["acceptedEpoch", "currentEpoch", "snapshot.200000014"]
