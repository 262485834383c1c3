"""Containers and TTL nodes: when they go, how, and how fast (ContainerManager)."""

import pytest

from tests.keeper.harness import OPEN, START_MS, Client, World
from zkpy.keeper import reaper
from zkpy.keeper.reaper import Reaper
from zkpy.proto import events, opcodes
from zkpy.proto.records import CreateTTLRequest
from zkpy.tree.datatree import DataTree

CHECK_MS = 60_000


def reaped(world: World) -> list[str | None]:
    """The paths of all deleteContainer txns; each has session and cxid 0."""
    found = [(head, txn) for head, txn in world.txns() if head.type == opcodes.DELETE_CONTAINER]
    assert all(head.client_id == 0 and head.cxid == 0 for head, _ in found)
    return [txn.path for _, txn in found]


def stay(world: World, client: Client, ms: int) -> None:
    """Let time pass and keep the session alive."""
    end = world.now_ms + ms
    while world.now_ms < end:
        world.advance(min(5000, end - world.now_ms))
        client.post(opcodes.PING)
    client.take()


def ttl_world() -> tuple[World, Client]:
    world = World(DataTree(extended_types=True))
    return world, world.client()


def create_ttl(client: Client, path: str, ttl_ms: int) -> None:
    request = CreateTTLRequest(path, b"", OPEN, opcodes.PERSISTENT_TTL, ttl_ms)
    assert client.call(opcodes.CREATE_TTL, request).err == 0


def test_container_goes_at_the_next_check_after_its_last_child(world: World, client: Client) -> None:
    client.create("/c", op=opcodes.CREATE_CONTAINER)
    client.create("/c/child")
    stay(world, client, CHECK_MS)
    assert "/c" in world.tree.nodes, "it has a child"
    client.delete("/c/child")
    stay(world, client, CHECK_MS - 1)
    assert "/c" in world.tree.nodes
    stay(world, client, 1)
    assert "/c" not in world.tree.nodes
    assert reaped(world) == ["/c"]
    assert world.now_ms == START_MS + 2 * CHECK_MS


def test_container_that_never_had_a_child_stays(world: World, client: Client) -> None:
    client.create("/c", op=opcodes.CREATE_CONTAINER)
    stay(world, client, 5 * CHECK_MS)
    assert reaped(world) == []


def test_never_used_container_goes_when_the_setting_says_so() -> None:
    world = World(container_max_never_used_ms=90_000)
    client = world.client()
    client.create("/c", op=opcodes.CREATE_CONTAINER)
    stay(world, client, CHECK_MS)
    assert reaped(world) == []
    stay(world, client, CHECK_MS)
    assert reaped(world) == ["/c"]


def test_plain_nodes_are_never_reaped(world: World, client: Client) -> None:
    client.create("/p")
    client.create("/p/c")
    client.delete("/p/c")
    client.create("/c", flags=opcodes.CONTAINER, op=opcodes.CREATE)
    stay(world, client, 2 * CHECK_MS)
    assert {"/p", "/c"} <= set(world.tree.nodes)


def test_nested_containers_go_from_the_inside_one_check_at_a_time(world: World, client: Client) -> None:
    for path in ("/c", "/c/d"):
        client.create(path, op=opcodes.CREATE_CONTAINER)
    client.create("/c/d/x")
    client.delete("/c/d/x")
    stay(world, client, CHECK_MS)
    assert reaped(world) == ["/c/d"]
    stay(world, client, CHECK_MS)
    assert reaped(world) == ["/c/d", "/c"]


def test_reaping_fires_watches_like_any_delete(world: World, client: Client) -> None:
    client.create("/c", op=opcodes.CREATE_CONTAINER)
    client.create("/c/x")
    client.delete("/c/x")
    client.exists("/c", watch=True)
    client.children("/", watch=True)
    world.advance(9000)
    for _ in range(6):
        client.post(opcodes.PING)
        world.advance(9000)
    seen = [(packet.kind, packet.path) for packet in client.take() if hasattr(packet, "kind")]
    assert seen == [(events.NODE_DELETED, "/c"), (events.NODE_CHILDREN_CHANGED, "/")]


def test_child_on_its_way_saves_its_container(world: World, client: Client) -> None:
    client.create("/c", op=opcodes.CREATE_CONTAINER)
    client.create("/c/x")
    client.delete("/c/x")
    stay(world, client, CHECK_MS - 1)
    world.holds_log = True
    client.post(
        opcodes.CREATE, b"\0\0\0\4/c/y\0\0\0\0" + b"\0\0\0\1\0\0\0\x1f\0\0\0\5world\0\0\0\6anyone" + b"\0\0\0\0"
    )
    world.advance(1)
    world.holds_log = False
    world.sync()
    assert "/c/y" in world.tree.nodes
    assert reaped(world) == []
    assert world.txns()[-1][0].type == opcodes.ERROR, "the attempt failed and was logged"


def test_reaping_is_spread_over_time() -> None:
    world = World(container_max_per_minute=60)
    client = world.client()
    for number in range(10):
        client.create(f"/c{number}", op=opcodes.CREATE_CONTAINER)
        client.create(f"/c{number}/x")
        client.delete(f"/c{number}/x")
    stay(world, client, CHECK_MS)
    first = len(reaped(world))
    assert 1 <= first <= 2
    stay(world, client, 3000)
    assert len(reaped(world)) == first + 3
    stay(world, client, 20_000)
    assert sorted(map(str, reaped(world))) == [f"/c{number}" for number in range(10)], "each once"


def test_only_some_of_very_many_are_looked_at_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "LOOK_LIMIT", 3)
    world = World(container_max_per_minute=60_000_000)
    client = world.client()
    for number in range(10):
        client.create(f"/c{number}", op=opcodes.CREATE_CONTAINER)
        client.create(f"/c{number}/x")
        client.delete(f"/c{number}/x")
    of_world = Reaper(world.tree, world.keeper.settings, 0)
    assert of_world.deadline_ms() == CHECK_MS
    found: list[str] = []
    sizes = []
    while not sizes or of_world.deadline_ms() == 0:
        some = of_world.due(CHECK_MS, 0)
        sizes.append(len(some))
        found += some
        client.delete(f"/c{9 - len(sizes)}")  # others go their own ways meanwhile
    assert sizes == [3, 3, 1, 1]
    assert found == [f"/c{number}" for number in (0, 1, 2, 3, 4, 5, 6, 9)]
    assert of_world.deadline_ms() == 2 * CHECK_MS


def test_server_without_candidates_does_not_wake_for_them(world: World, client: Client) -> None:
    client.close_session()
    assert world.replica.deadline_ms() is None


# --- TTL -----------------------------------------------------------------------------------------------------------


def test_ttl_node_goes_at_the_first_check_after_its_time() -> None:
    world, client = ttl_world()
    create_ttl(client, "/t", CHECK_MS)
    stay(world, client, CHECK_MS)
    assert reaped(world) == [], "not longer than its ttl yet"
    stay(world, client, CHECK_MS)
    assert reaped(world) == ["/t"]
    world.check()


def test_set_data_gives_a_ttl_node_its_time_again() -> None:
    world, client = ttl_world()
    create_ttl(client, "/t", CHECK_MS)
    stay(world, client, CHECK_MS - 1)
    client.set("/t", b"alive")
    stay(world, client, CHECK_MS)
    assert reaped(world) == []
    stay(world, client, 1 + CHECK_MS)
    assert reaped(world) == ["/t"]


def test_nothing_else_gives_a_ttl_node_its_time_again() -> None:
    world, client = ttl_world()
    create_ttl(client, "/t", 90_000)
    stay(world, client, CHECK_MS + 1000)
    client.get("/t")
    client.set_acl("/t", OPEN)
    client.create("/t/c")
    client.delete("/t/c")
    stay(world, client, CHECK_MS)
    assert reaped(world) == ["/t"]


def test_ttl_node_with_children_stays() -> None:
    world, client = ttl_world()
    create_ttl(client, "/t", 1)
    client.create("/t/c")
    stay(world, client, 2 * CHECK_MS)
    assert reaped(world) == []
    client.delete("/t/c")
    stay(world, client, CHECK_MS)
    assert reaped(world) == ["/t"]
