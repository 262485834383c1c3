"""kazoo's DataWatch, ChildrenWatch and TreeCache in several clients at once: against Apache's server and against zkpy.

The law is that of test_kazoo_recipes: a program does not know which of the two it talks to. Where a change waits until
all have heard the one before it, each client hears every one, in order; where it does not, some may be heard as one,
but never out of order, and the last is always heard: also by a client that was cut off, lost its session, or lived
through a restart of the server.
"""

from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState
from kazoo.recipe.cache import TreeCache, TreeEvent

from compat_tests.kazoo_programs import Connect, Mortal, Server, connect, mortal, path, port, running
from tests.recipes.fixtures import until

__all__ = ["connect", "mortal", "path", "port", "running"]

pytestmark = pytest.mark.slow


class Listener:
    """What one client hears of a znode's data and of its children."""

    def __init__(self, client: KazooClient, path: str) -> None:
        self.client = client
        self.data: list[bytes | None] = []
        self.children: list[list[str]] = []
        client.DataWatch(path, self._on_data)
        if client.exists(path):
            client.ChildrenWatch(path, self._on_children)

    def _on_data(self, data: bytes | None, _stat: Any, _event: Any) -> None:
        self.data.append(data)

    def _on_children(self, children: list[str]) -> None:
        self.children.append(sorted(children))


def all_heard(listeners: list[Listener], data: bytes | None) -> None:
    until(lambda: all(listener.data[-1] == data for listener in listeners), f"not all heard {data!r}")


def test_data_watch_tells_each_change_to_all_and_absence_too(connect: Connect, path: str) -> None:
    writer, listeners = connect(), [Listener(connect(), path) for _ in range(3)]
    told: list[bytes | None] = [None, b"born", b"changed", b"", None, b"born again"]
    all_heard(listeners, None)
    writer.create(path, told[1], makepath=True)
    all_heard(listeners, told[1])
    for data in told[2:4]:
        writer.set(path, data)
        all_heard(listeners, data)
    writer.delete(path)
    all_heard(listeners, None)
    writer.create(path, told[5])
    all_heard(listeners, told[5])
    assert [listener.data for listener in listeners] == [told] * 3


def test_data_watch_tells_a_flood_in_order_and_its_end(connect: Connect, path: str) -> None:
    writer = connect()
    writer.create(path, b"0", makepath=True)
    listeners = [Listener(connect(), path) for _ in range(5)]
    for number in range(1, 101):
        writer.set(path, b"%d" % number)
    all_heard(listeners, b"100")
    for listener in listeners:
        heard = [int(data or b"-1") for data in listener.data]
        assert heard[0] == 0
        assert heard == sorted(set(heard))


def test_children_watch_tells_each_child_to_all(connect: Connect, path: str) -> None:
    writer = connect()
    writer.ensure_path(path)
    listeners = [Listener(connect(), path) for _ in range(3)]
    told: list[list[str]] = [[], ["a"], ["a", "b"], ["b"]]
    steps = [lambda: writer.create(f"{path}/a"), lambda: writer.create(f"{path}/b"), lambda: writer.delete(f"{path}/a")]
    for count, step in enumerate(steps, 2):
        step()
        expected = told[:count]
        until(lambda expected=expected: all(listener.children == expected for listener in listeners))
    writer.set(f"{path}/b", b"a child's data is no news")
    writer.set(path, b"nor is one's own")
    all_heard(listeners, b"nor is one's own")
    assert [listener.children for listener in listeners] == [told] * 3


def test_watch_that_answers_false_hears_no_more(connect: Connect, path: str) -> None:
    writer, client = connect(), connect()
    writer.create(path, b"0", makepath=True)
    data: list[bytes] = []
    children: list[list[str]] = []

    @client.DataWatch(path)
    def on_data(value: bytes, _stat: Any) -> bool:
        data.append(value)
        return len(data) < 2

    @client.ChildrenWatch(path)
    def on_children(names: list[str]) -> bool:
        children.append(names)
        return len(children) < 2

    listener = Listener(client, path)
    for number in range(1, 4):
        writer.set(path, b"%d" % number)
        writer.create(f"{path}/{number}")
        all_heard([listener], b"%d" % number)
        until(lambda: len(listener.children[-1]) == len(listener.data) - 1)
        until(lambda: len(data) == len(children) == 2)
    assert data == [b"0", b"1"]
    assert children == [[], ["1"]]


@pytest.mark.parametrize("loses_session", [False, True], ids=["cut off", "expired"])
def test_watches_catch_up_once_the_client_is_back(
    connect: Connect, mortal: Mortal, path: str, loses_session: bool
) -> None:
    writer, (client, proxy) = connect(), mortal()
    writer.create(path, b"before", makepath=True)
    listener = Listener(client, path)
    states: list[str] = []
    client.add_listener(states.append)
    if loses_session:
        mortal.kill(client, proxy)
    else:
        proxy.cut()
    for number in range(3):
        writer.set(path, b"%d" % number)
        writer.create(f"{path}/{number}")
    assert (listener.data, listener.children) == ([b"before"], [[]])
    proxy.mend()
    all_heard([listener], b"2")
    until(lambda: listener.children[-1] == ["0", "1", "2"])
    writer.set(path, b"after")
    writer.delete(f"{path}/0")
    all_heard([listener], b"after")
    until(lambda: listener.children[-1] == ["1", "2"])
    assert listener.data == [b"before", b"2", b"after"]
    assert (KazooState.LOST in states) == loses_session


def test_watches_go_on_over_a_restart_of_the_server(running: Server, mortal: Mortal, path: str) -> None:
    writer, _ = mortal()
    writer.create(path, b"0", makepath=True)
    listeners = [Listener(mortal()[0], path) for _ in range(3)]
    for number in (1, 2):
        mortal.restart(running)
        writer.retry(writer.set, path, b"%d" % number)
        all_heard(listeners, b"%d" % number)
    assert [listener.data for listener in listeners] == [[b"0", b"1", b"2"]] * 3


# --- a whole subtree -----------------------------------------------------------------------------------------------

Tree = dict[str, bytes | None]

EVENTS = {
    TreeEvent.NODE_ADDED: "added",
    TreeEvent.NODE_UPDATED: "updated",
    TreeEvent.NODE_REMOVED: "removed",
    TreeEvent.CONNECTION_SUSPENDED: "suspended",
    TreeEvent.CONNECTION_RECONNECTED: "reconnected",
    TreeEvent.CONNECTION_LOST: "lost",
    TreeEvent.INITIALIZED: "initialized",
}


def stored(client: KazooClient, path: str) -> Tree:
    """The subtree as the server has it: the data by path."""
    tree: Tree = {path: client.get(path)[0]}
    for child in client.get_children(path):
        tree |= stored(client, f"{path}/{child}")
    return tree


class Cache:
    """A TreeCache, what it holds, and what it told."""

    def __init__(self, client: KazooClient, path: str) -> None:
        self.path = path
        self.events: list[tuple[str, str]] = []
        self.faults: list[Exception] = []
        self.cache = TreeCache(client, path)
        self.cache.listen(self._on_event)
        self.cache.listen_fault(self.faults.append)
        self.cache.start()
        until(lambda: ("initialized", "") in self.events)

    def _on_event(self, event: TreeEvent) -> None:
        path = event.event_data.path.removeprefix(self.path) if event.event_data else ""
        self.events.append((EVENTS[event.event_type], path))

    def tree(self, path: str = "") -> Tree:
        """The subtree as the cache has it; None for data that it has still to fetch."""
        path = path or self.path
        data = self.cache.get_data(path)
        tree: Tree = {path: data and data.data}
        for child in self.cache.get_children(path, ()):
            tree |= self.tree(f"{path}/{child}")
        return tree

    def of(self, path: str) -> list[str]:
        """What it told about one path."""
        return [kind for kind, of in self.events if of == path]


def all_hold(caches: list[Cache], tree: Tree) -> None:
    until(lambda: all(cache.tree() == tree for cache in caches), f"not all hold {tree}")


def test_tree_cache_holds_the_subtree_and_tells_each_change(connect: Connect, path: str) -> None:
    writer = connect()
    writer.create(f"{path}/a/b", b"deep", makepath=True)
    writer.create(f"{path}-beside", b"no part of it")
    caches = [Cache(connect(), path) for _ in range(3)]
    all_hold(caches, {path: b"", f"{path}/a": b"", f"{path}/a/b": b"deep"})
    for step in (
        lambda: writer.set(f"{path}/a/b", b"deeper"),
        lambda: writer.create(f"{path}/a/c", b"one more"),
        lambda: writer.create(f"{path}/a/c/d", b"below it", ephemeral=True),
        lambda: writer.set(path, b"the root"),
        lambda: writer.delete(f"{path}/a/b"),
        lambda: writer.create(f"{path}/a/b", b"again"),
        lambda: writer.delete(f"{path}/a/c/d"),
        lambda: writer.delete(f"{path}/a/c"),
    ):
        step()
        all_hold(caches, stored(writer, path))
    for cache in caches:
        until(lambda cache=cache: len(cache.events) == 12, f"told {cache.events}")
        assert cache.of("/a/b") == ["added", "updated", "removed", "added"]
        assert cache.of("/a/c") == cache.of("/a/c/d") == ["added", "removed"]
        assert cache.of("/a") == ["added"]
        assert cache.of("") == ["added", "initialized", "updated"]
        assert cache.faults == []
        cache.cache.close()


@pytest.mark.parametrize("loses_session", [False, True], ids=["cut off", "expired"])
def test_tree_cache_catches_up_once_the_client_is_back(
    connect: Connect, mortal: Mortal, path: str, loses_session: bool
) -> None:
    writer, (client, proxy) = connect(), mortal()
    for name in ("kept", "changed", "gone/below"):
        writer.create(f"{path}/{name}", b"old", makepath=True)
    cache = Cache(client, path)
    before = stored(writer, path)
    all_hold([cache], before)
    if loses_session:
        mortal.kill(client, proxy)
    else:
        proxy.cut()
    writer.set(f"{path}/changed", b"new")
    writer.delete(f"{path}/gone", recursive=True)
    writer.create(f"{path}/born/below", b"new", makepath=True)
    assert cache.tree() == before
    proxy.mend()
    all_hold([cache], stored(writer, path))
    writer.set(f"{path}/born/below", b"newer")
    writer.delete(f"{path}/kept")
    all_hold([cache], stored(writer, path))
    until(lambda: cache.of("/kept") == ["added", "removed"] and "updated" in cache.of("/born/below"))
    assert cache.of("/changed") == ["added", "updated"]
    assert cache.of("/gone/below") == ["added", "removed"]
    assert cache.of("/born/below") == ["added", "updated"]
    heard = [kind for kind, _ in cache.events if kind in ("suspended", "lost", "reconnected")]
    assert heard == (["suspended", "lost", "reconnected"] if loses_session else ["suspended", "reconnected"])
    cache.cache.close()
