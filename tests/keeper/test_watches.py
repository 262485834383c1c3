"""Watches: what each kind hears, in which order, and what is left afterwards (client protocol, section 11)."""

import pytest

from tests.keeper.harness import OPEN, Client, Event, Reply, World, acl
from zkpy.proto import errors, events, opcodes
from zkpy.proto.records import CreateRequest, DeleteRequest, GetDataRequest, SetDataRequest, SetWatches
from zkpy.tree import watches

CREATED, DELETED = events.NODE_CREATED, events.NODE_DELETED
CHANGED, CHILDREN = events.NODE_DATA_CHANGED, events.NODE_CHILDREN_CHANGED
PERSISTENT, RECURSIVE = opcodes.ADD_WATCH_PERSISTENT, opcodes.ADD_WATCH_PERSISTENT_RECURSIVE


@pytest.fixture
def writer(world: World) -> Client:
    """Another client, whose writes the first one watches."""
    return world.client()


# --- standard watches ----------------------------------------------------------------------------------------------


def test_data_watch_fires_once_on_set_data(client: Client, writer: Client) -> None:
    writer.create("/a")
    client.get("/a", watch=True)
    writer.set("/a")
    writer.set("/a")
    assert client.events() == [(CHANGED, "/a")]


def test_data_watch_fires_on_delete(client: Client, writer: Client) -> None:
    writer.create("/a")
    client.exists("/a", watch=True)
    writer.delete("/a")
    assert client.events() == [(DELETED, "/a")]


def test_exists_on_a_missing_node_waits_for_its_creation(client: Client, writer: Client) -> None:
    assert client.exists("/a", watch=True).err == errors.NONODE
    writer.create("/b")
    writer.create("/a")
    writer.set("/a")
    assert client.events() == [(CREATED, "/a")]


@pytest.mark.parametrize("op", [opcodes.GET_DATA, opcodes.GET_CHILDREN, opcodes.GET_CHILDREN2])
def test_other_reads_of_a_missing_node_leave_no_watch(world: World, client: Client, op: int) -> None:
    assert client.call(op, GetDataRequest("/a", True)).err == errors.NONODE
    assert world.keeper.watches.total == 0


@pytest.mark.parametrize("op", [opcodes.EXISTS, opcodes.GET_DATA, opcodes.GET_CHILDREN, opcodes.GET_CHILDREN2])
def test_refused_reads_leave_no_watch(world: World, client: Client, op: int) -> None:
    client.create("/shut", entries=acl((opcodes.PERM_WRITE, "world", "anyone")))
    assert client.call(op, GetDataRequest("/shut", True)).err == errors.NOAUTH
    assert world.keeper.watches.total == 0


@pytest.mark.parametrize("op", [opcodes.GET_CHILDREN, opcodes.GET_CHILDREN2])
def test_child_watch_hears_of_children_made_and_gone(client: Client, writer: Client, op: int) -> None:
    writer.create("/p")
    for change in (lambda: writer.create("/p/c"), lambda: writer.delete("/p/c")):
        client.call(op, GetDataRequest("/p", True))
        change()
        change()
        assert client.events() == [(CHILDREN, "/p")]


def test_child_watch_does_not_hear_of_data_or_grandchildren(client: Client, writer: Client) -> None:
    writer.create("/p")
    writer.create("/p/c")
    client.children("/p", watch=True)
    writer.set("/p")
    writer.set("/p/c")
    writer.create("/p/c/g")
    writer.delete("/p/c/g")
    assert client.take() == []


def test_child_watch_hears_of_its_own_nodes_deletion(client: Client, writer: Client) -> None:
    writer.create("/p")
    client.children("/p", watch=True)
    writer.delete("/p")
    assert client.events() == [(DELETED, "/p")]


def test_one_event_for_data_and_child_watch_of_a_deleted_node(world: World, client: Client, writer: Client) -> None:
    writer.create("/p")
    client.get("/p", watch=True)
    client.children("/p", watch=True)
    writer.delete("/p")
    assert client.events() == [(DELETED, "/p")]
    assert world.keeper.watches.total == 0, "the one that was not heard is gone too"


def test_roots_children_are_reported_under_a_slash(client: Client, writer: Client) -> None:
    client.children("/", watch=True)
    writer.create("/a")
    assert client.events() == [(CHILDREN, "/")]


def test_create_tells_the_node_first_and_then_its_parent(client: Client, writer: Client) -> None:
    client.exists("/a", watch=True)
    client.children("/", watch=True)
    writer.create("/a")
    assert client.events() == [(CREATED, "/a"), (CHILDREN, "/")]


def test_delete_tells_the_node_first_and_then_its_parent(client: Client, writer: Client) -> None:
    writer.create("/a")
    client.children("/", watch=True)
    client.children("/a", watch=True)
    writer.delete("/a")
    assert client.events() == [(DELETED, "/a"), (CHILDREN, "/")]


def test_same_watch_twice_makes_one_event(client: Client, writer: Client) -> None:
    writer.create("/a")
    client.get("/a", watch=True)
    client.exists("/a", watch=True)
    writer.set("/a")
    assert client.events() == [(CHANGED, "/a")]


def test_set_acl_and_new_sessions_fire_nothing(world: World, client: Client, writer: Client) -> None:
    writer.create("/a")
    for path in ("/", "/a"):
        client.get(path, watch=True)
        client.children(path, watch=True)
    writer.set_acl("/a", OPEN)
    world.client()
    assert client.take() == []


def test_event_carries_the_zxid_that_fired_it(world: World, client: Client, writer: Client) -> None:
    client.exists("/a", watch=True)
    writer.create("/a")
    assert client.take() == [Event(CREATED, "/a", world.tree.last_zxid)]


def test_every_watching_connection_gets_its_own_event(world: World, client: Client, writer: Client) -> None:
    others = [world.client() for _ in range(3)]
    for one in (client, *others):
        one.exists("/a", watch=True)
    writer.create("/a")
    assert all(one.events() == [(CREATED, "/a")] for one in (client, *others))


# --- order ---------------------------------------------------------------------------------------------------------


def test_event_comes_before_the_reply_to_the_write_that_caused_it(client: Client) -> None:
    client.exists("/a", watch=True)
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    assert [type(packet) for packet in client.take()] == [Event, Reply]


def test_event_comes_before_any_reply_that_shows_the_change(world: World, client: Client, writer: Client) -> None:
    client.create("/a")
    client.get("/a", watch=True)
    world.holds_log = True
    writer.post(opcodes.SET_DATA, SetDataRequest("/a", b"new", -1))
    client.send(
        client.request(opcodes.GET_DATA, GetDataRequest("/a", False)),
        client.request(opcodes.SET_DATA, SetDataRequest("/", b"", -1)),
        client.request(opcodes.GET_DATA, GetDataRequest("/a", False)),
    )
    world.sync()
    before, event, write, after = client.take()
    assert isinstance(before, Reply)
    assert isinstance(after, Reply)
    assert isinstance(write, Reply)
    assert before.body[:4] == b"\0\0\0\0", "answered before the write was applied"
    assert isinstance(event, Event)
    assert after.body[:7] == b"\0\0\0\3new"


def test_read_that_watches_is_answered_before_any_event_of_its_watch(world: World, client: Client) -> None:
    client.send(
        client.request(opcodes.EXISTS, GetDataRequest("/a", True)),
        client.request(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0)),
        client.request(opcodes.EXISTS, GetDataRequest("/a", True)),
        client.request(opcodes.DELETE, DeleteRequest("/a", -1)),
    )
    kinds = [packet.kind if isinstance(packet, Event) else packet.xid for packet in client.take()]  # type: ignore[union-attr]
    assert kinds == [1, CREATED, 2, 3, DELETED, 4]


# --- persistent and recursive watches ------------------------------------------------------------------------------


def test_add_watch_answers_with_four_zero_bytes(client: Client) -> None:
    assert client.add_watch("/missing", PERSISTENT).body == b"\0\0\0\0"
    assert client.add_watch("not a path", RECURSIVE).body == b"\0\0\0\0"


@pytest.mark.parametrize("mode", [-1, 2, 99])
def test_add_watch_knows_two_modes(client: Client, mode: int) -> None:
    assert client.add_watch("/", mode).err == errors.MARSHALLINGERROR


def test_persistent_watch_hears_of_its_node_and_its_children_for_ever(client: Client, writer: Client) -> None:
    client.add_watch("/p", PERSISTENT)
    for _ in range(2):
        writer.create("/p")
        writer.set("/p")
        writer.create("/p/c")
        writer.set("/p/c")
        writer.create("/p/c/g")
        writer.delete("/p/c/g")
        writer.delete("/p/c")
        writer.delete("/p")
        assert client.events() == [
            (CREATED, "/p"),
            (CHANGED, "/p"),
            (CHILDREN, "/p"),
            (CHILDREN, "/p"),
            (DELETED, "/p"),
        ]


def test_recursive_watch_hears_of_all_below_and_never_of_children_changed(client: Client, writer: Client) -> None:
    client.add_watch("/p", RECURSIVE)
    for _ in range(2):
        writer.create("/p")
        writer.create("/p/c")
        writer.create("/p/c/g")
        writer.set("/p/c/g")
        writer.create("/pq")
        writer.delete("/p/c/g")
        writer.delete("/p/c")
        writer.delete("/p")
        writer.delete("/pq")
        assert client.events() == [
            (CREATED, "/p"),
            (CREATED, "/p/c"),
            (CREATED, "/p/c/g"),
            (CHANGED, "/p/c/g"),
            (DELETED, "/p/c/g"),
            (DELETED, "/p/c"),
            (DELETED, "/p"),
        ]


def test_recursive_watch_on_the_root_hears_of_everything(client: Client, writer: Client) -> None:
    client.add_watch("/", RECURSIVE)
    writer.create("/a")
    writer.create("/zookeeper/x")
    writer.set("/")
    assert client.events() == [(CREATED, "/a"), (CREATED, "/zookeeper/x"), (CHANGED, "/")]


def test_many_matching_watches_make_one_event(world: World, client: Client, writer: Client) -> None:
    writer.create("/a")
    client.add_watch("/", RECURSIVE)
    client.add_watch("/a", RECURSIVE)
    client.add_watch("/a", PERSISTENT)
    client.get("/a", watch=True)
    writer.set("/a")
    assert client.events() == [(CHANGED, "/a")]


def test_modes_of_one_path_live_side_by_side(client: Client, writer: Client) -> None:
    writer.create("/a")
    client.get("/a", watch=True)
    client.add_watch("/a", PERSISTENT)
    client.add_watch("/a", RECURSIVE)
    writer.set("/a")
    assert client.events() == [(CHANGED, "/a")]
    assert client.watch_request(opcodes.CHECK_WATCHES, "/a", opcodes.WATCHER_DATA).err == errors.NOWATCHER
    assert client.watch_request(opcodes.CHECK_WATCHES, "/a", opcodes.WATCHER_PERSISTENT).err == 0
    assert client.watch_request(opcodes.CHECK_WATCHES, "/a", opcodes.WATCHER_PERSISTENT_RECURSIVE).err == 0
    client.watch_request(opcodes.REMOVE_WATCHES, "/a", opcodes.WATCHER_PERSISTENT_RECURSIVE)
    writer.create("/a/b")
    assert client.events() == [(CHILDREN, "/a")]


# --- checkWatches and removeWatches --------------------------------------------------------------------------------

STANDARD_DATA, STANDARD_CHILD = "data", "child"
ASKED = {
    STANDARD_DATA: lambda client: client.get("/a", watch=True),
    STANDARD_CHILD: lambda client: client.children("/a", watch=True),
    "persistent": lambda client: client.add_watch("/a", PERSISTENT),
    "recursive": lambda client: client.add_watch("/a", RECURSIVE),
}
MATCHES = {
    opcodes.WATCHER_CHILDREN: {STANDARD_CHILD},
    opcodes.WATCHER_DATA: {STANDARD_DATA},
    opcodes.WATCHER_ANY: set(ASKED),
    opcodes.WATCHER_PERSISTENT: {"persistent"},
    opcodes.WATCHER_PERSISTENT_RECURSIVE: {"recursive"},
}


@pytest.mark.parametrize("asked", list(ASKED))
@pytest.mark.parametrize("kind", list(MATCHES))
def test_each_type_matches_its_own_watches(world: World, client: Client, kind: int, asked: str) -> None:
    client.create("/a")
    ASKED[asked](client)
    code = 0 if asked in MATCHES[kind] else errors.NOWATCHER
    total = world.keeper.watches.total
    assert client.watch_request(opcodes.CHECK_WATCHES, "/a", kind).err == code
    assert world.keeper.watches.total == total
    reply = client.watch_request(opcodes.REMOVE_WATCHES, "/a", kind)
    assert (reply.err, reply.body) == (code, b"")
    assert world.keeper.watches.total == (total if code else 0)
    assert client.watch_request(opcodes.REMOVE_WATCHES, "/a", kind).err == errors.NOWATCHER


@pytest.mark.parametrize("kind", [0, 6, -1])
@pytest.mark.parametrize("op", [opcodes.CHECK_WATCHES, opcodes.REMOVE_WATCHES])
def test_unknown_type_is_an_error(client: Client, op: int, kind: int) -> None:
    assert client.watch_request(op, "/", kind).err == errors.MARSHALLINGERROR


def test_only_ones_own_watches_are_found_and_removed(client: Client, writer: Client) -> None:
    writer.create("/a")
    writer.get("/a", watch=True)
    assert client.watch_request(opcodes.CHECK_WATCHES, "/a", opcodes.WATCHER_ANY).err == errors.NOWATCHER
    assert client.watch_request(opcodes.REMOVE_WATCHES, "/a", opcodes.WATCHER_ANY).err == errors.NOWATCHER
    client.set("/a")
    assert writer.events() == [(CHANGED, "/a")]


def test_removed_watch_is_silent(client: Client, writer: Client) -> None:
    writer.create("/a")
    client.get("/a", watch=True)
    client.children("/a", watch=True)
    client.watch_request(opcodes.REMOVE_WATCHES, "/a", opcodes.WATCHER_DATA)
    writer.set("/a")
    assert client.take() == []
    writer.create("/a/b")
    assert client.events() == [(CHILDREN, "/a")]


# --- setWatches ----------------------------------------------------------------------------------------------------


@pytest.fixture
def missed(world: World, writer: Client) -> int:
    """The zxid after which /changed was set, /parent got a child and /gone and /made went and came."""
    for path in ("/same", "/changed", "/parent", "/gone"):
        writer.create(path)
    zxid = world.tree.last_zxid
    writer.set("/changed")
    writer.create("/parent/child")
    writer.delete("/gone")
    writer.create("/made")
    return zxid


def test_set_watches_tells_what_was_missed_and_watches_the_rest(
    world: World, client: Client, writer: Client, missed: int
) -> None:
    *fired, reply = client.set_watches(
        missed, ["/same", "/changed", "/gone"], ["/made", "/never"], ["/same", "/parent", "/gone"]
    )
    assert fired == [
        Event(CHANGED, "/changed", -1),
        Event(DELETED, "/gone", -1),
        Event(CREATED, "/made", -1),
        Event(CHILDREN, "/parent", -1),
        Event(DELETED, "/gone", -1),
    ]
    assert reply == Reply(-8, world.tree.last_zxid, 0)
    assert {path: len(entry) for path, entry in world.keeper.watches.data.items()} == {"/same": 1, "/never": 1}
    assert list(world.keeper.watches.child) == ["/same"]
    writer.set("/same")
    writer.create("/never")
    writer.create("/same/child")
    assert client.events() == [(CHANGED, "/same"), (CREATED, "/never"), (CHILDREN, "/same")]


def test_changes_up_to_the_clients_zxid_are_no_news(world: World, client: Client, writer: Client) -> None:
    writer.create("/a")
    writer.create("/a/b")
    assert client.set_watches(world.tree.last_zxid, ["/a"], [], ["/a"]) == [Reply(-8, world.tree.last_zxid, 0)]
    assert world.keeper.watches.total == 2


def test_exist_watch_of_a_node_that_is_there_fires_whatever_its_zxid(world: World, client: Client) -> None:
    first, _ = client.set_watches(world.tree.last_zxid + 1000, [], ["/zookeeper"], [])
    assert first == Event(CREATED, "/zookeeper", -1)


def test_set_watches2_brings_back_watches_that_stay(world: World, client: Client, writer: Client) -> None:
    writer.create("/p")
    (reply,) = client.set_watches(0, [], [], [], ["/p", "/missing"], ["/r"])
    assert reply == Reply(-8, world.tree.last_zxid, 0), "no event for them, whatever was missed"
    writer.create("/p/c")
    writer.create("/missing")
    writer.create("/r")
    writer.create("/r/x")
    assert client.events() == [(CHILDREN, "/p"), (CREATED, "/missing"), (CREATED, "/r"), (CREATED, "/r/x")]


def test_catch_up_events_are_not_filtered_by_acls(client: Client, writer: Client) -> None:
    writer.create("/shut", entries=acl((opcodes.PERM_WRITE, "world", "anyone")))
    first, *_ = client.set_watches(0, ["/shut"], [], [])
    assert first == Event(CHANGED, "/shut", -1)


@pytest.mark.parametrize("at", range(3))
def test_null_list_is_an_error(client: Client, at: int) -> None:
    lists: list[list[str | None] | None] = [[], [], []]
    lists[at] = None
    reply = client.call(opcodes.SET_WATCHES, SetWatches(0, *lists), -8)
    assert (reply.xid, reply.err) == (-8, errors.MARSHALLINGERROR)


# --- permission and lifetime ---------------------------------------------------------------------------------------


def test_event_of_a_node_one_may_not_read_is_dropped_and_the_watch_with_it(
    world: World, client: Client, writer: Client
) -> None:
    writer.create("/a")
    client.get("/a", watch=True)
    writer.auth("digest", b"u:p")
    writer.set_acl("/a", acl((opcodes.PERM_ALL, "auth", "")))
    writer.set("/a")
    assert client.take() == []
    assert world.keeper.watches.total == 0


def test_created_node_one_may_not_read_is_not_told_of(client: Client, writer: Client) -> None:
    client.exists("/a", watch=True)
    client.children("/", watch=True)
    writer.create("/a", entries=acl((opcodes.PERM_WRITE, "world", "anyone")))
    assert client.events() == [(CHILDREN, "/")], "the parent may be read"


def test_deleted_node_is_told_of_by_its_last_acl(client: Client, writer: Client) -> None:
    writer.create("/a", entries=acl((opcodes.PERM_WRITE, "world", "anyone")))
    writer.create("/b")
    client.add_watch("/a", PERSISTENT)
    client.add_watch("/b", PERSISTENT)
    writer.delete("/a")
    writer.delete("/b")
    assert client.events() == [(DELETED, "/b")]


def test_childrens_event_goes_by_the_parents_acl(client: Client, writer: Client) -> None:
    writer.create("/p")
    client.children("/p", watch=True)
    writer.set_acl("/p", acl((opcodes.PERM_ALL & ~opcodes.PERM_READ, "world", "anyone")))
    writer.create("/p/c")
    assert client.take() == []


def test_identity_gained_later_counts_at_delivery(client: Client, writer: Client) -> None:
    writer.auth("digest", b"u:p")
    writer.create("/a", entries=acl((opcodes.PERM_ALL, "auth", "")))
    client.add_watch("/a", PERSISTENT)
    writer.set("/a")
    assert client.take() == []
    client.auth("digest", b"u:p")
    writer.set("/a")
    assert client.events() == [(CHANGED, "/a")]


def test_watches_go_with_their_connection(world: World, client: Client, writer: Client) -> None:
    client.exists("/a", watch=True)
    client.add_watch("/", RECURSIVE)
    client.hang_up()
    assert world.keeper.watches.total == 0
    assert writer.create("/a").err == 0


def test_very_many_watches_go_in_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(four_letter_words=frozenset({"wchp"}))
    client, other, writer = (world.client() for _ in range(3))
    monkeypatch.setattr(watches, "FEW", 1)
    monkeypatch.setattr(watches, "DROP_AT_ONCE", 3)
    for number in range(8):
        client.exists(f"/n{number}", watch=True)
    other.exists("/n7", watch=True)
    client.hang_up()
    assert world.keeper.deadline_ms() == 0
    assert world.word(b"wchp").startswith("/n7\n\t")
    assert writer.create("/n7").err == 0
    assert other.events() == [(CREATED, "/n7")]
    assert world.keeper.watches.leaving
    world.advance(1)
    assert not world.keeper.watches.leaving
    assert not world.keeper.watches.data
    assert world.keeper.deadline_ms() != 0


def test_watches_go_when_the_session_closes(world: World, client: Client) -> None:
    client.add_watch("/", RECURSIVE)
    client.close_session()
    assert world.keeper.watches.total == 0


def test_nothing_of_a_change_is_kept_while_nobody_watches(world: World, writer: Client) -> None:
    writer.create("/a")
    assert world.tree.take_changes() == []
