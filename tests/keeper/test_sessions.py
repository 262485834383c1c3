"""Sessions: how long they live, what keeps them alive, and how they end (client protocol, section 15)."""

import pytest

from tests.keeper.harness import OPEN, START_MS, Client, Event, Reply, World, path_of
from zkpy.keeper.expiry import ExpiryQueue
from zkpy.proto import events, opcodes
from zkpy.proto.records import CreateRequest, DeleteRequest, GetDataRequest, SetDataRequest

TICK_MS = 3000


def deadline(now_ms: int, timeout_ms: int) -> int:
    """When a session that was touched now will expire."""
    return ((now_ms + timeout_ms) // TICK_MS + 1) * TICK_MS


def closes(world: World) -> list[tuple[int, list[str | None] | None]]:
    """(session, paths) of every closeSession logged."""
    return [(head.client_id, txn.paths2_delete) for head, txn in world.txns() if head.type == opcodes.CLOSE_SESSION]


def advance_to(world: World, ms: int) -> None:
    world.advance(ms - world.now_ms)


# --- deadlines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_ms", [6000, 7000, 10000, 60000])
def test_session_expires_at_the_first_tick_after_its_timeout(world: World, timeout_ms: int) -> None:
    client = world.client(timeout_ms)
    due = deadline(START_MS, timeout_ms)
    assert timeout_ms < due - START_MS <= timeout_ms + TICK_MS
    advance_to(world, due - 1)
    assert not client.is_closed
    advance_to(world, due)
    assert client.is_closed
    assert closes(world) == [(client.session_id, [])]


def test_expired_connection_is_closed_without_a_word(world: World, client: Client) -> None:
    world.advance(20000)
    assert client.is_closed
    assert client.take() == []


@pytest.mark.parametrize(
    ("op", "body"),
    [
        (opcodes.PING, b""),
        (opcodes.GET_DATA, GetDataRequest("/", False)),
        (opcodes.GET_DATA, GetDataRequest("/missing", False)),
        (opcodes.SET_DATA, SetDataRequest("/", b"x", -1)),
        (opcodes.DELETE, DeleteRequest("/missing", -1)),
        (opcodes.GET_DATA, b"\xff"),
    ],
)
def test_every_request_keeps_the_session_alive(world: World, client: Client, op: int, body: object) -> None:
    for _ in range(10):
        world.advance(9000)
        client.call(op, body)  # type: ignore[arg-type]
    assert world.keeper.sessions.expiry.deadlines[client.connection.session] == deadline(world.now_ms, 10000)  # type: ignore[index]


def test_auth_does_not_keep_the_session_alive(world: World, client: Client) -> None:
    due = deadline(START_MS, 10000)
    world.advance(9000)
    assert client.auth("digest", b"u:p").err == 0
    advance_to(world, due)
    assert client.is_closed


def test_sasl_does_not_keep_the_session_alive(world: World, client: Client) -> None:
    world.advance(9000)
    assert client.call(opcodes.SASL, b"\0\0\0\0").err == 0
    advance_to(world, deadline(START_MS, 10000))
    assert client.is_closed


def test_reattach_counts_from_then_with_the_new_timeout(world: World, client: Client) -> None:
    client.hang_up()
    world.advance(9000)
    back = world.open()
    back.connect(40000, client.session_id, client.password)
    due = deadline(world.now_ms, 40000)
    advance_to(world, due - 1)
    assert not back.is_closed
    advance_to(world, due)
    assert back.is_closed


def test_later_requests_use_the_timeout_of_the_reattach(world: World, client: Client) -> None:
    back = world.open()
    back.connect(40000, client.session_id, client.password)
    world.advance(30000)
    back.call(opcodes.PING)
    world.advance(39000)
    assert not back.is_closed


def test_sessions_of_a_restarted_server_get_a_full_timeout(world: World) -> None:
    client = world.client(30000)
    world.advance(29000)
    again = World(world.tree)
    again.advance(29000)
    assert client.session_id in again.tree.sessions.timeouts
    again.advance(4000)
    assert client.session_id not in again.tree.sessions.timeouts


def test_idle_server_with_no_session_has_nothing_to_wake_for(world: World, client: Client) -> None:
    assert world.replica.deadline_ms() == deadline(START_MS, 10000)
    client.close_session()
    assert world.replica.deadline_ms() is None


# --- the end -------------------------------------------------------------------------------------------------------


def test_close_is_answered_then_the_connection_closes(world: World, client: Client) -> None:
    reply = client.close_session()
    assert reply == Reply(1, world.tree.last_zxid, 0)
    assert client.is_closed
    assert world.tree.sessions.timeouts == {}


def test_close_takes_one_zxid_for_all_ephemerals(world: World, client: Client) -> None:
    other = world.client()
    client.create("/p")
    for name in "abc":
        client.create(f"/p/{name}", flags=opcodes.EPHEMERAL)
    before = other.stat("/p")
    client.close_session()
    zxid = world.tree.last_zxid
    assert closes(world) == [(client.session_id, ["/p/a", "/p/b", "/p/c"])]
    after = other.stat("/p")
    assert (after.pzxid, after.num_children) == (zxid, 0)
    # Creations and deletions as clients see them; the stored counter of creations did not move.
    assert (before.cversion, after.cversion) == (3, 6)
    assert path_of(other.create("/p/s", flags=opcodes.PERSISTENT_SEQUENTIAL)) == "/p/s0000000003"
    assert after.mzxid == before.mzxid


def test_ephemerals_go_exactly_once(world: World, client: Client) -> None:
    watcher = world.client(60000)
    client.create("/e", flags=opcodes.EPHEMERAL)
    watcher.add_watch("/e", opcodes.ADD_WATCH_PERSISTENT)
    client.hang_up()
    world.advance(40000)
    assert watcher.events() == [(events.NODE_DELETED, "/e")]
    assert closes(world) == [(client.session_id, ["/e"])]
    watcher.send(watcher.request(opcodes.CREATE, CreateRequest("/e", b"", OPEN, 0)))
    world.advance(10000)
    assert "/e" in world.tree.nodes


def test_ephemerals_survive_their_connection(world: World, client: Client) -> None:
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.hang_up()
    world.advance(9000)
    assert "/e" in world.tree.nodes
    world.advance(3000)
    assert "/e" not in world.tree.nodes


def test_close_deletes_ephemerals_that_were_still_on_their_way(world: World, client: Client) -> None:
    world.holds_log = True
    client.send(
        client.request(opcodes.CREATE, CreateRequest("/e", b"", OPEN, opcodes.EPHEMERAL)),
        client.request(opcodes.CREATE, CreateRequest("/f", b"", OPEN, opcodes.EPHEMERAL)),
        client.request(opcodes.DELETE, DeleteRequest("/e", -1)),
        client.request(opcodes.CLOSE_SESSION),
    )
    world.sync()
    assert closes(world) == [(client.session_id, ["/f"])]
    assert [packet.err for packet in client.take() if isinstance(packet, Reply)] == [0, 0, 0, 0]
    assert world.tree.ephemerals_count == 0


def test_expiry_does_not_list_what_is_being_deleted(world: World, client: Client) -> None:
    other = world.client(60000)
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.create("/f", flags=opcodes.EPHEMERAL)
    world.holds_log = True
    other.post(opcodes.DELETE, DeleteRequest("/e", -1))
    world.advance(20000)
    world.sync()
    assert closes(world) == [(client.session_id, ["/f"])]


def test_node_made_again_by_another_session_stays(world: World, client: Client) -> None:
    other = world.client()
    client.create("/e", flags=opcodes.EPHEMERAL)
    other.delete("/e")
    other.create("/e", flags=opcodes.EPHEMERAL)
    client.close_session()
    assert other.stat("/e").ephemeral_owner == other.session_id


def test_requests_behind_a_close_are_dropped(world: World, client: Client) -> None:
    client.send(
        client.request(opcodes.CLOSE_SESSION),
        client.request(opcodes.CREATE, CreateRequest("/late", b"", OPEN, 0)),
        client.request(opcodes.PING),
    )
    assert [packet.xid for packet in client.take() if isinstance(packet, Reply)] == [1]
    assert "/late" not in world.tree.nodes


def test_requests_of_an_expiring_session_are_dropped_without_a_reply(world: World, client: Client) -> None:
    world.holds_log = True
    world.advance(20000)
    assert not client.is_closed, "its closeSession is not durable yet"
    client.post(opcodes.CREATE, CreateRequest("/late", b"", OPEN, 0))
    client.post(opcodes.PING)
    world.sync()
    assert client.take() == []
    assert client.is_closed
    assert len(closes(world)) == 1
    assert "/late" not in world.tree.nodes


def test_close_and_expiry_together_make_one_txn(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.CLOSE_SESSION)
    world.advance(60000)
    world.sync()
    assert closes(world) == [(client.session_id, [])]


def test_own_watches_fire_before_the_answer_to_a_close(world: World, client: Client) -> None:
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.exists("/e", watch=True)
    client.children("/", watch=True)
    client.post(opcodes.CLOSE_SESSION)
    zxid = world.tree.last_zxid
    first, second, reply = client.take()
    assert first == Event(events.NODE_DELETED, "/e", zxid)
    assert second == Event(events.NODE_CHILDREN_CHANGED, "/", zxid)
    assert isinstance(reply, Reply)


def test_childrens_watch_fires_once_for_many_ephemerals(world: World, client: Client) -> None:
    watcher = world.client(60000)
    for name in "abc":
        client.create(f"/{name}", flags=opcodes.EPHEMERAL)
    watcher.children("/", watch=True)
    client.close_session()
    assert watcher.events() == [(events.NODE_CHILDREN_CHANGED, "/")]


def test_ephemerals_go_also_without_a_list_in_the_txn() -> None:
    world = World(close_session_txn_enabled=False)
    client = world.client()
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.close_session()
    header, txn = world.txns()[-1]
    assert (header.type, txn) == (opcodes.CLOSE_SESSION, None)
    assert "/e" not in world.tree.nodes
    world.check()


# --- the queue -----------------------------------------------------------------------------------------------------


def test_bucket_holds_all_that_is_due_at_one_tick() -> None:
    queue: ExpiryQueue[str] = ExpiryQueue(100)
    queue.touch("a", 100, 0)
    queue.touch("b", 199, 0)
    queue.touch("c", 200, 0)
    assert {at: list(bucket) for at, bucket in queue.buckets.items()} == {200: ["a", "b"], 300: ["c"]}
    assert queue.expired(199, 10) == []
    assert queue.expired(200, 10) == ["a", "b"]
    assert queue.next_deadline() == 300


def test_more_than_are_wanted_at_once_stay_due() -> None:
    queue: ExpiryQueue[int] = ExpiryQueue(100)
    for number in range(5):
        queue.touch(number, 100, 0)
    queue.touch(5, 200, 0)
    assert queue.expired(500, 3) == [0, 1, 2]
    assert queue.next_deadline() == 200
    assert sorted(queue.deadlines) == [3, 4, 5]
    queue.touch(3, 1000, 500)
    assert queue.expired(500, 3) == [4, 5]
    assert queue.expired(1599, 3) == []
    assert queue.expired(1600, 3) == [3]


def test_touched_entry_moves_and_its_empty_bucket_goes() -> None:
    queue: ExpiryQueue[str] = ExpiryQueue(100)
    queue.touch("a", 100, 0)
    queue.touch("a", 100, 150)
    assert list(queue.buckets) == [300]
    queue.remove("a")
    assert queue.next_deadline() is None
    queue.remove("a")
    assert queue.expired(1000, 10) == []
