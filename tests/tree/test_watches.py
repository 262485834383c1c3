"""The tables of watches: who hears of a change, what stays, and that every count agrees."""

from collections.abc import Callable

import pytest

from zkpy.proto.events import NODE_CHILDREN_CHANGED, NODE_CREATED, NODE_DATA_CHANGED, NODE_DELETED
from zkpy.tree.acl import OPEN, READ_ONLY
from zkpy.tree.datatree import CREATED, DATA_CHANGED, DELETED, Change
from zkpy.tree.watches import PERSISTENT, RECURSIVE, SHRINK_AT, STANDARD, Watches


@pytest.fixture
def watches() -> Watches[str]:
    return Watches()


def change(kind: int, path: str) -> Change:
    """A change as the tree reports it; nodes are world-readable, their parents carry another ACL."""
    return kind, path, OPEN, path[: path.rindex("/")] or "/", READ_ONLY


def fire(watches: Watches[str], kind: int, path: str) -> list[tuple[int, str, list[str]]]:
    """(event type, path, who hears it) in order."""
    fired = [(firing.kind, firing.path, list(firing.watchers)) for firing in watches.fire(change(kind, path))]
    watches.check()
    return fired


def test_nobody_hears_when_nobody_watches(watches: Watches[str]) -> None:
    for kind in (CREATED, DELETED, DATA_CHANGED):
        assert fire(watches, kind, "/a") == []


def test_created_fires_the_node_and_then_its_parents_children(watches: Watches[str]) -> None:
    watches.watch_data("/p/a", "x")
    watches.watch_children("/p", "y")
    watches.watch_children("/p/a", "z")
    assert fire(watches, CREATED, "/p/a") == [(NODE_CREATED, "/p/a", ["x"]), (NODE_CHILDREN_CHANGED, "/p", ["y"])]
    assert list(watches.child) == ["/p/a"]


def test_deleted_fires_data_then_child_then_parent_and_none_twice(watches: Watches[str]) -> None:
    watches.watch_data("/p/a", "both")
    watches.watch_children("/p/a", "both")
    watches.watch_children("/p/a", "child")
    watches.watch_children("/p", "both")
    assert fire(watches, DELETED, "/p/a") == [
        (NODE_DELETED, "/p/a", ["both"]),
        (NODE_DELETED, "/p/a", ["child"]),
        (NODE_CHILDREN_CHANGED, "/p", ["both"]),
    ]
    assert watches.total == 0


def test_data_change_fires_the_data_table_alone(watches: Watches[str]) -> None:
    watches.watch_data("/a", "x")
    watches.watch_children("/a", "y")
    watches.watch_children("/", "z")
    assert fire(watches, DATA_CHANGED, "/a") == [(NODE_DATA_CHANGED, "/a", ["x"])]
    assert watches.total == 2


def test_firing_carries_the_acl_of_what_changed(watches: Watches[str]) -> None:
    watches.watch_data("/a", "x")
    watches.watch_children("/", "x")
    assert [firing.acl for firing in watches.fire(change(CREATED, "/a"))] == [OPEN, READ_ONLY]


def test_persistent_watch_stays_and_hears_both_tables(watches: Watches[str]) -> None:
    watches.watch_persistently("/a", "x", recursive=False)
    for _ in range(2):
        assert fire(watches, CREATED, "/a") == [(NODE_CREATED, "/a", ["x"])]
        assert fire(watches, CREATED, "/a/b") == [(NODE_CHILDREN_CHANGED, "/a", ["x"])]
        assert fire(watches, DATA_CHANGED, "/a/b") == []
        assert fire(watches, DELETED, "/a") == [(NODE_DELETED, "/a", ["x"])]


def test_recursive_watch_hears_of_every_descendant_once(watches: Watches[str]) -> None:
    watches.watch_persistently("/", "x", recursive=True)
    watches.watch_persistently("/a", "x", recursive=True)
    watches.watch_data("/a/b/c", "x")
    assert watches.recursive_count == 2
    assert fire(watches, DATA_CHANGED, "/a/b/c") == [(NODE_DATA_CHANGED, "/a/b/c", ["x"])]
    assert fire(watches, DELETED, "/ab") == [(NODE_DELETED, "/ab", ["x"])]
    assert fire(watches, DATA_CHANGED, "/") == [(NODE_DATA_CHANGED, "/", ["x"])]


def test_recursive_listener_above_does_not_hear_a_deletion_twice(watches: Watches[str]) -> None:
    watches.watch_persistently("/", "x", recursive=True)
    watches.watch_children("/a", "x")
    assert fire(watches, DELETED, "/a") == [(NODE_DELETED, "/a", ["x"])]
    assert not watches.child


def test_firing_takes_the_standard_mode_and_leaves_the_others(watches: Watches[str]) -> None:
    watches.watch_data("/a", "x", STANDARD)
    watches.watch_persistently("/a", "x", recursive=False)
    watches.watch_persistently("/a", "x", recursive=True)
    assert watches.data["/a"]["x"] == STANDARD | PERSISTENT | RECURSIVE
    fire(watches, DATA_CHANGED, "/a")
    assert watches.data["/a"]["x"] == PERSISTENT | RECURSIVE
    assert watches.total == 2


@pytest.mark.parametrize(
    ("ask", "modes", "left"),
    [
        (lambda w: w.watch_data("/a", "x"), (STANDARD, 0), 0),
        (lambda w: w.watch_children("/a", "x"), (0, STANDARD), 0),
        (lambda w: w.watch_persistently("/a", "x", False), (PERSISTENT, PERSISTENT), 0),
        (lambda w: w.watch_persistently("/a", "x", False), (PERSISTENT, 0), 1),
        (lambda w: w.watch_persistently("/a", "x", True), (RECURSIVE, 0), 0),
        (lambda w: w.watch_persistently("/a", "x", False), (-1, -1), 0),
    ],
)
def test_removing_takes_the_modes_it_names(
    watches: Watches[str], ask: Callable[[Watches[str]], None], modes: tuple[int, int], left: int
) -> None:
    ask(watches)
    assert watches.has("/a", "x", *modes)
    assert not watches.has("/a", "y", *modes)
    assert not watches.has("/b", "x", *modes)
    assert not watches.remove("/a", "y", *modes)
    assert watches.remove("/a", "x", *modes)
    assert watches.total == left
    assert not watches.remove("/a", "x", *modes)
    watches.check()


def test_other_modes_are_not_found(watches: Watches[str]) -> None:
    watches.watch_data("/a", "x")
    assert not watches.has("/a", "x", PERSISTENT | RECURSIVE, -1)
    assert not watches.remove("/a", "x", PERSISTENT | RECURSIVE, -1)
    assert watches.total == 1


def test_counts_are_per_watcher_and_path(watches: Watches[str]) -> None:
    for watcher in "xy":
        for path in ("/a", "/b"):
            watches.watch_data(path, watcher)
            watches.watch_data(path, watcher)
    watches.watch_children("/a", "x")
    assert watches.total == 5
    assert {watcher: list(paths) for watcher, paths in watches.data_paths().items()} == {
        "x": ["/a", "/b"],
        "y": ["/a", "/b"],
    }


def test_watcher_with_child_watches_alone_is_not_in_the_data_list(watches: Watches[str]) -> None:
    watches.watch_children("/a", "x")
    assert watches.data_paths() == {}


def test_dropped_watcher_leaves_nothing(watches: Watches[str]) -> None:
    for watcher in "xy":
        watches.watch_data("/a", watcher)
        watches.watch_children("/a", watcher)
        watches.watch_persistently("/b", watcher, recursive=True)
        watches.watch_persistently("/b", watcher, recursive=False)
    watches.drop("x")
    watches.drop("x")
    watches.check()
    assert watches.recursive_count == 1
    assert {watcher for entry in watches.data.values() for watcher in entry} == {"y"}
    watches.drop("y")
    watches.check()
    assert (watches.total, watches.recursive_count, watches.data, watches.child) == (0, 0, {}, {})


def test_tables_shrink_when_very_many_watches_go(watches: Watches[str]) -> None:
    watches.watch_data("/mine", "y")
    watches.watch_children("/mine", "y")
    for number in range(SHRINK_AT + 1):
        watches.watch_data(f"/{number}", "x")
        watches.watch_children(f"/{number}", "x")
    big = watches.data.__sizeof__()
    watches.drop("x")
    while watches.leaving:
        watches.drop_some()
    watches.check()
    assert list(watches.data) == list(watches.child) == ["/mine"]
    assert watches.data.__sizeof__() < big / 100


def test_paths_with_one_standard_watch_share_what_stands_there_until_more_comes(watches: Watches[str]) -> None:
    for path in ("/a", "/b", "/c", "/d"):
        watches.watch_data(path, "x")
        watches.watch_children(path, "x")
    shared = watches.data["/a"]
    assert all(entry is shared for table in (watches.data, watches.child) for entry in table.values())
    watches.watch_data("/a", "y")
    watches.watch_data("/b", "x", PERSISTENT)
    watches.watch_children("/c", "y", PERSISTENT)
    watches.check()
    assert watches.data == {"/a": {"x": 1, "y": 1}, "/b": {"x": 3}, "/c": {"x": 1}, "/d": {"x": 1}}
    assert watches.child["/c"] == {"x": 1, "y": 2}
    assert watches.remove("/d", "x", STANDARD, 0)
    assert watches.remove("/a", "x", STANDARD, 0)
    watches.watch_data("/a", "z")
    watches.check()
    assert watches.data == {"/a": {"y": 1, "z": 1}, "/b": {"x": 3}, "/c": {"x": 1}}
    watches.drop("x")
    watches.check()
    assert (watches.data, watches.child) == ({"/a": {"y": 1, "z": 1}}, {"/c": {"y": 2}})


def test_a_watcher_with_very_many_watches_leaves_piece_by_piece_and_hears_nothing_meanwhile(
    watches: Watches[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zkpy.tree.watches.FEW", 0)
    monkeypatch.setattr("zkpy.tree.watches.DROP_AT_ONCE", 4)
    for number in range(3):
        watches.watch_data(f"/{number}", "x")
        watches.watch_children(f"/{number}", "x")
        watches.watch_children(f"/{number}", "y")
    watches.watch_persistently("/", "x", recursive=True)
    watches.drop("x")
    assert list(watches.leaving) == ["x"]
    watches.check()
    assert (watches.total, watches.data_paths()) == (3, {})
    assert fire(watches, DELETED, "/0") == [(NODE_DELETED, "/0", ["y"])]
    assert fire(watches, DATA_CHANGED, "/1") == []
    watches.watch_data("/2", "z")  # where "x" is alone, but for this
    watches.check()
    pieces = 0
    while watches.leaving:
        watches.drop("z")
        watches.drop_some()
        watches.check()
        pieces += 1
    assert pieces == 2
    assert (watches.data, watches.recursive_count) == ({}, 0)
    assert watches.child == {"/1": {"y": 1}, "/2": {"y": 1}}


def test_check_finds_tables_that_disagree(watches: Watches[str]) -> None:
    watches.watch_data("/a", "x")
    watches.data["/b"] = {"x": STANDARD}
    with pytest.raises((AssertionError, KeyError)):
        watches.check()
