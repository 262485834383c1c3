"""Order: answers leave as requests came, a session sees its own writes, nobody waits for others (section 12)."""

from tests.keeper.harness import OPEN, Client, Event, Reply, World
from zkpy.keeper.keeper import OUT_LIMIT
from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    CreateRequest,
    DeleteRequest,
    GetDataRequest,
    GetDataResponse,
    SetDataRequest,
    SyncRequest,
)


def create(client: Client, path: str) -> bytes:
    return client.request(opcodes.CREATE, CreateRequest(path, b"", OPEN, 0))


def get(client: Client, path: str) -> bytes:
    return client.request(opcodes.GET_DATA, GetDataRequest(path, False))


def replies(client: Client) -> list[Reply]:
    return [packet for packet in client.take() if isinstance(packet, Reply)]


def test_answers_leave_in_the_order_of_the_requests(world: World, client: Client) -> None:
    client.send(
        get(client, "/"),
        create(client, "/a"),
        get(client, "/a"),
        client.request(opcodes.PING, xid=-2),
        client.request(opcodes.DELETE, DeleteRequest("/a", -1)),
        get(client, "/a"),
        client.request(opcodes.SYNC, SyncRequest("/")),
        create(client, "/a"),
    )
    answers = replies(client)
    assert [answer.xid for answer in answers] == [1, 2, 3, -2, 4, 5, 6, 7]
    assert [answer.err for answer in answers] == [0, 0, 0, 0, 0, errors.NONODE, 0, 0]


def test_read_waits_for_the_write_before_it_and_sees_it(world: World, client: Client) -> None:
    world.holds_log = True
    client.send(create(client, "/a"), get(client, "/a"))
    client.post(opcodes.GET_DATA, GetDataRequest("/a", False))
    assert client.take() == []
    world.sync()
    assert [(answer.xid, answer.err) for answer in replies(client)] == [(1, 0), (2, 0), (3, 0)]


def test_every_kind_of_read_waits_its_turn(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    client.post(opcodes.PING, xid=-2)
    client.post(opcodes.SYNC, SyncRequest("/"))
    client.post(opcodes.EXISTS, GetDataRequest("/a", False))
    client.post(opcodes.WHO_AM_I)
    assert client.take() == []
    world.sync()
    assert [answer.xid for answer in replies(client)] == [1, -2, 2, 3, 4]


def test_undecodable_write_waits_its_turn_too(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    client.post(opcodes.CREATE, b"\xff")
    client.post(opcodes.GET_DATA, b"\xff")
    assert client.take() == []
    world.sync()
    assert [(answer.xid, answer.err) for answer in replies(client)] == [(1, 0), (2, -5), (3, -5)]


def test_reads_do_not_wait_for_other_sessions_writes(world: World, client: Client) -> None:
    other = world.client()
    world.holds_log = True
    other.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    assert client.get("/a").err == errors.NONODE
    assert client.call(opcodes.PING).err == 0
    world.sync()
    assert client.get("/a").err == 0


def test_reads_between_two_writes_see_the_first_alone(world: World, client: Client) -> None:
    client.create("/a")
    client.send(
        client.request(opcodes.SET_DATA, SetDataRequest("/a", b"1", -1)),
        get(client, "/a"),
        client.request(opcodes.SET_DATA, SetDataRequest("/a", b"2", -1)),
        get(client, "/a"),
    )
    _, first, _, second = replies(client)
    assert GetDataResponse.decode(first.body, 0)[0].data == b"1"
    assert GetDataResponse.decode(second.body, 0)[0].data == b"2"


def test_writes_are_judged_in_order_of_arrival_across_sessions(world: World, client: Client) -> None:
    other = world.client()
    world.holds_log = True
    client.post(opcodes.CREATE, CreateRequest("/a", b"first", OPEN, 0))
    other.post(opcodes.CREATE, CreateRequest("/a", b"second", OPEN, 0))
    other.post(opcodes.SET_DATA, SetDataRequest("/a", b"third", 0))
    world.sync()
    assert [answer.err for answer in replies(client)] == [0]
    assert [answer.err for answer in replies(other)] == [errors.NODEEXISTS, 0]
    assert client.data("/a") == b"third"


def test_write_is_not_answered_before_it_is_durable(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    client.post(opcodes.DELETE, DeleteRequest("/missing", -1))
    assert client.take() == []
    assert "/a" not in world.tree.nodes
    world.sync()
    assert [answer.err for answer in replies(client)] == [0, errors.NONODE]


def test_reply_zxids_never_go_back_on_a_connection(world: World, client: Client) -> None:
    other = world.client()
    seen: list[int] = []
    for number in range(20):
        other.create(f"/o{number}")
        client.send(get(client, "/"), create(client, f"/c{number}"), get(client, "/nope"), create(client, "/c0"))
        seen += [answer.zxid for answer in replies(client)]
    assert seen == sorted(seen)
    assert seen[-1] == world.tree.last_zxid


def test_client_that_is_gone_still_has_its_writes_applied(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    client.hang_up()
    world.sync()
    assert "/a" in world.tree.nodes
    assert client.take() == []


def test_large_answers_leave_the_rest_waiting_but_in_order(world: World, client: Client) -> None:
    """More answers than OUT_LIMIT at once: the later requests wait, and still see things as they came."""
    client.create("/big", b"x" * 900_000)
    client.send(
        *(get(client, "/big") for _ in range(8)),
        client.request(opcodes.SET_DATA, SetDataRequest("/big", b"small", -1)),
        *(get(client, "/big") for _ in range(3)),
    )
    answers = replies(client)
    assert [answer.xid for answer in answers] == list(range(2, 14))
    sizes = [len(answer.body) for answer in answers]
    assert sizes[:8] == [4 + 900_000 + 68] * 8
    assert sizes[9:] == [4 + 5 + 68] * 3


def test_no_more_than_the_limit_is_made_ready_at_once(world: World, client: Client) -> None:
    client.create("/big", b"x" * 900_000)
    world.replica.received(client.connection, b"".join(get(client, "/big") for _ in range(50)))
    assert client.connection.out_size() <= OUT_LIMIT + 900_100
    assert len(client.connection.backlog) > 40
    world.run()
    assert len(replies(client)) == 50


def test_held_back_reads_do_not_see_a_later_write(world: World, client: Client) -> None:
    client.create("/big", b"x" * 900_000)
    world.holds_log = True
    client.send(
        client.request(opcodes.SET_DATA, SetDataRequest("/", b"", -1)),
        *(get(client, "/big") for _ in range(6)),
        client.request(opcodes.SET_DATA, SetDataRequest("/big", b"small", -1)),
    )
    world.sync()
    assert [len(answer.body) for answer in replies(client)[1:7]] == [4 + 900_000 + 68] * 6


def test_events_keep_their_place_among_the_answers(world: World, client: Client) -> None:
    other = world.client()
    client.exists("/a", watch=True)
    client.post(opcodes.PING)
    other.create("/a")
    client.post(opcodes.EXISTS, GetDataRequest("/a", False))
    assert [type(packet) for packet in client.take()] == [Reply, Event, Reply]
