"""multi: all or nothing, under one zxid; multiRead: each operation for itself (client protocol, section 7)."""

from dataclasses import dataclass

import pytest

from jute.record import Record
from tests.keeper.harness import (
    OPEN,
    Client,
    Event,
    Reply,
    World,
    acl,
    check_op,
    create_op,
    create_ttl_op,
    delete_op,
    multi_body,
    path_of,
    set_op,
)
from zkpy.proto import errors, events, opcodes
from zkpy.proto.records import (
    Create2Response,
    CreateRequest,
    CreateResponse,
    ErrorResponse,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    MultiHeader,
    SetACLRequest,
    SetDataResponse,
)
from zkpy.tree.datatree import DataTree
from zkpy.tree.znode import CONTAINER_OWNER

END = bytes.fromhex("ffffffff01ffffffff")

BODIES: dict[int, type[Record] | None] = {
    opcodes.CREATE: CreateResponse,
    opcodes.CREATE2: Create2Response,
    opcodes.DELETE: None,
    opcodes.SET_DATA: SetDataResponse,
    opcodes.CHECK: None,
    opcodes.GET_DATA: GetDataResponse,
    opcodes.GET_CHILDREN: GetChildrenResponse,
    opcodes.ERROR: ErrorResponse,
}


@dataclass
class Part:
    """One result: its type, its error as the header has it, and its record."""

    kind: int
    err: int
    body: Record | None


def parts_of(reply: Reply) -> list[Part]:
    """The results of a multi that was carried out or failed."""
    assert reply.err == 0, reply
    parts = []
    at = 0
    while True:
        head, at = MultiHeader.decode(reply.body, at)
        if head.done:
            assert (head.type, head.err) == (-1, -1)
            assert at == len(reply.body)
            return parts
        record = BODIES[head.type]
        body = None
        if record is not None:
            body, at = record.decode(reply.body, at)
        parts.append(Part(head.type, head.err, body))


def codes_of(reply: Reply) -> list[int]:
    """The codes of a failed multi: every result is an error record that says its code twice."""
    codes = []
    for part in parts_of(reply):
        assert part.kind == opcodes.ERROR
        assert isinstance(part.body, ErrorResponse)
        assert part.body.err == part.err
        codes.append(part.err)
    return codes


# --- success -------------------------------------------------------------------------------------------------------


def test_each_operation_has_a_result_of_its_type(world: World, client: Client) -> None:
    client.create("/old", b"x")
    reply = client.multi(
        create_op("/a"),
        create_op("/b", data=b"bb", op=opcodes.CREATE2),
        create_op("/c", op=opcodes.CREATE_CONTAINER),
        set_op("/a", b"new"),
        check_op("/old", 0),
        delete_op("/old", 0),
    )
    made, made2, container, changed, checked, deleted = parts_of(reply)
    assert made == Part(opcodes.CREATE, 0, CreateResponse("/a"))
    assert made2 == Part(opcodes.CREATE2, 0, Create2Response("/b", client.stat("/b")))
    assert container == Part(opcodes.CREATE2, 0, Create2Response("/c", client.stat("/c")))
    assert changed == Part(opcodes.SET_DATA, 0, SetDataResponse(client.stat("/a")))
    assert checked == Part(opcodes.CHECK, 0, None)
    assert deleted == Part(opcodes.DELETE, 0, None)
    assert world.tree.nodes["/c"].owner == CONTAINER_OWNER


def test_all_operations_share_one_zxid_and_time(world: World, client: Client) -> None:
    zxid = world.tree.last_zxid
    reply = client.multi(create_op("/a"), create_op("/a/b"), set_op("/a"))
    assert reply.zxid == zxid + 1 == world.tree.last_zxid
    for path in ("/a", "/a/b"):
        stat = client.stat(path)
        assert (stat.czxid, stat.mzxid, stat.ctime, stat.mtime) == (zxid + 1, zxid + 1, world.wall_ms, world.wall_ms)


def test_stats_are_as_of_just_after_their_operation(client: Client) -> None:
    client.create("/a")
    first, _, second = parts_of(client.multi(set_op("/a", b"1"), create_op("/a/b"), set_op("/a", b"22")))
    assert isinstance(first.body, SetDataResponse)
    assert isinstance(second.body, SetDataResponse)
    assert (first.body.stat.version, first.body.stat.num_children, first.body.stat.cversion) == (1, 0, 0)
    assert (second.body.stat.version, second.body.stat.num_children, second.body.stat.cversion) == (2, 1, 1)


def test_operations_see_what_the_ones_before_left(client: Client) -> None:
    reply = client.multi(create_op("/a"), set_op("/a", b"x", 0), check_op("/a", 1), delete_op("/a", 1), create_op("/a"))
    assert [part.kind for part in parts_of(reply)] == [1, 5, 13, 2, 1]


def test_sequential_creates_see_each_other(client: Client) -> None:
    client.create("/p")
    reply = client.multi(create_op("/p/s", 2), create_op("/p/x"), create_op("/p/s", 2), create_op("/p/s", 3))
    names = [part.body.path for part in parts_of(reply) if isinstance(part.body, CreateResponse)]
    assert names == ["/p/s0000000000", "/p/x", "/p/s0000000002", "/p/s0000000003"]


def test_empty_multi_takes_a_zxid(world: World, client: Client) -> None:
    zxid = world.tree.last_zxid
    assert client.multi() == Reply(client.xid, zxid + 1, 0, END)
    assert world.txns()[-1][0].type == opcodes.MULTI


def test_multi_of_checks_changes_nothing(world: World, client: Client) -> None:
    digest = world.tree.digest
    assert [part.kind for part in parts_of(client.multi(check_op("/"), check_op("/", 0)))] == [13, 13]
    assert world.tree.digest == digest


def test_create_with_the_container_flag_makes_a_container_here(world: World, client: Client) -> None:
    (part,) = parts_of(client.multi(create_op("/c", opcodes.CONTAINER)))
    assert part.kind == opcodes.CREATE2
    assert world.tree.nodes["/c"].owner == CONTAINER_OWNER


def test_create_ttl_in_a_multi() -> None:
    world = World(DataTree(extended_types=True))
    client = world.client()
    (part,) = parts_of(client.multi(create_ttl_op("/t", opcodes.PERSISTENT_TTL, 50)))
    assert part == Part(opcodes.CREATE2, 0, Create2Response("/t", client.stat("/t")))
    assert list(world.tree.ttls) == ["/t"]
    world.check()


def test_create_ttl_without_extended_types_is_unimplemented(client: Client) -> None:
    assert codes_of(client.multi(create_ttl_op("/t", opcodes.PERSISTENT_TTL, 50))) == [errors.UNIMPLEMENTED]


# --- failure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(5))
def test_failing_operation_undoes_all_wherever_it_stands(world: World, client: Client, at: int) -> None:
    client.create("/p", b"data")
    client.create("/p/gone")
    before = client.stat("/p")
    digest = world.tree.digest
    operations = [create_op("/p/a", 2), set_op("/p", b"new"), delete_op("/p/gone"), create_op("/p/b", 1)]
    operations.insert(at, set_op("/p", b"", 99))
    zxid = world.tree.last_zxid
    reply = client.multi(*operations)
    assert reply.zxid == zxid + 1
    assert codes_of(reply) == [0] * at + [errors.BADVERSION] + [errors.RUNTIMEINCONSISTENCY] * (4 - at)
    assert client.stat("/p") == before
    assert client.names("/p") == ["gone"]
    assert world.tree.digest == digest == world.keeper.outstanding.digest
    assert world.tree.ephemerals_count == 0
    assert world.txns()[-1][0].type == opcodes.MULTI, "it is logged, with its errors"
    assert path_of(client.create("/p/s", flags=2)) == "/p/s0000000001", "counters went back"


def test_known_failure_has_its_known_bytes(client: Client) -> None:
    client.create("/a")
    reply = client.multi(check_op("/a"), set_op("/a", b"", 7), check_op("/a"))
    assert reply.body.hex() == (
        "ffffffff000000000000000000"
        + "ffffffff00ffffff99ffffff99"
        + "ffffffff00fffffffefffffffe"
        + "ffffffff01ffffffff"
    )


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (create_op("/there"), errors.NODEEXISTS),
        (create_op("/missing/a"), errors.NONODE),
        (create_op("/bad/"), errors.NONODE),
        (create_op("/there/"), errors.BADARGUMENTS),
        (create_op("/shut/a"), errors.NOAUTH),
        (create_op("/e/a"), errors.NOCHILDRENFOREPHEMERALS),
        ((opcodes.CREATE, CreateRequest("/a", b"", [], 0)), errors.INVALIDACL),
        (delete_op("/missing"), errors.NONODE),
        (delete_op("/"), errors.BADARGUMENTS),
        (delete_op("/full"), errors.NOTEMPTY),
        (delete_op("/there", 3), errors.BADVERSION),
        (set_op("/missing"), errors.NONODE),
        (set_op("/there", b"", 3), errors.BADVERSION),
        (set_op("/shut"), errors.NOAUTH),
        (check_op("/missing"), errors.NONODE),
        (check_op("/there", 3), errors.BADVERSION),
        (check_op("/shut", 3), errors.NOAUTH),
        (check_op("/there/"), errors.BADARGUMENTS),
    ],
)
def test_operations_fail_in_a_multi_as_they_do_alone(client: Client, operation: tuple[int, Record], code: int) -> None:
    client.create("/there")
    client.create("/full")
    client.create("/full/child")
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.create("/shut", entries=acl((opcodes.PERM_DELETE, "world", "anyone")))
    reply = client.multi(create_op("/new"), operation, create_op("/new2"))
    assert codes_of(reply) == [0, code, errors.RUNTIMEINCONSISTENCY]
    assert client.exists("/new").err == errors.NONODE


def test_failure_rolls_back_to_what_was_already_proposed(world: World, client: Client) -> None:
    client.create("/p")
    world.holds_log = True
    client.send(
        client.request(opcodes.CREATE, CreateRequest("/p/s", b"", OPEN, 2)),
        client.request(opcodes.MULTI, multi_body(create_op("/p/s", 2), delete_op("/p/s0000000000"), set_op("/nope"))),
        client.request(opcodes.MULTI, multi_body(create_op("/p/s", 2), set_op("/p", b"x", 0))),
    )
    world.sync()
    first, second, third = (packet for packet in client.take() if isinstance(packet, Reply))
    assert path_of(first) == "/p/s0000000000"
    assert codes_of(second) == [0, 0, errors.NONODE]
    assert [part.kind for part in parts_of(third)] == [1, 5]
    assert client.names("/p") == ["s0000000000", "s0000000001"]


def test_failed_multi_fires_no_watch(client: Client) -> None:
    client.children("/", watch=True)
    client.exists("/a", watch=True)
    assert codes_of(client.multi(create_op("/a"), set_op("/missing"))) == [0, errors.NONODE]
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    assert [type(packet) for packet in client.take()] == [Event, Event, Reply]


def test_events_of_all_operations_come_before_the_reply_in_their_order(world: World, client: Client) -> None:
    client.create("/old")
    client.add_watch("/", opcodes.ADD_WATCH_PERSISTENT_RECURSIVE)
    client.post(opcodes.MULTI, multi_body(create_op("/a"), set_op("/a"), delete_op("/old")))
    *fired, reply = client.take()
    zxid = world.tree.last_zxid
    assert fired == [
        Event(events.NODE_CREATED, "/a", zxid),
        Event(events.NODE_DATA_CHANGED, "/a", zxid),
        Event(events.NODE_DELETED, "/old", zxid),
    ]
    assert isinstance(reply, Reply)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        END[:-1],
        multi_body(create_op("/a"))[:-9],
        multi_body(create_op("/a"))[:-1],
        multi_body(create_op("/a"), (opcodes.SET_ACL, SetACLRequest("/a", OPEN, -1))),
        multi_body(create_op("/a"), (opcodes.GET_DATA, GetDataRequest("/", False))),
        multi_body(create_op("/a"), (opcodes.DELETE_CONTAINER, GetDataRequest("/", False))),
        multi_body(create_op("/a"), (99, GetDataRequest("/", False))),
        multi_body(create_op("/a", 7)),
        multi_body(create_op("/a", opcodes.PERSISTENT_TTL)),
        multi_body((opcodes.CREATE, CreateRequest("/a", b"", None, 0))),
        multi_body((opcodes.CREATE, CreateRequest(None, b"", OPEN, 0))),
        multi_body(create_op("/a"), (opcodes.CREATE, CreateRequest("/b", b"", acl((1, "ip", "x")), 0)))[:-20],
    ],
)
def test_undecodable_multi_is_an_error_of_its_own_and_does_nothing(world: World, client: Client, body: bytes) -> None:
    digest = world.tree.digest
    reply = client.call(opcodes.MULTI, body)
    assert (reply.err, reply.body) == (errors.MARSHALLINGERROR, b"")
    assert world.tree.digest == digest == world.keeper.outstanding.digest
    assert client.create("/after").err == 0


NULL_ACL = (opcodes.CREATE, CreateRequest("/a", b"", None, 0))
NULL_PATH = (opcodes.CREATE, CreateRequest(None, b"", OPEN, 0))
READ = (opcodes.GET_CHILDREN, GetDataRequest("/", False))
UNKNOWN_OPERATION = (99, GetDataRequest("/", False))


@pytest.mark.parametrize(
    ("operations", "taken"),
    [
        ((NULL_PATH,), 1),
        ((UNKNOWN_OPERATION,), 1),
        ((NULL_ACL,), 0),
        ((NULL_ACL, NULL_PATH), 0),
        ((NULL_ACL, UNKNOWN_OPERATION), 0),
        ((UNKNOWN_OPERATION, NULL_ACL), 1),
        ((NULL_PATH, UNKNOWN_OPERATION), 1),
        # Null paths and reads are met only when all of it has been decoded, reads among writes at once.
        ((NULL_PATH, NULL_ACL), 0),
        ((READ,), 1),
        ((READ, NULL_ACL), 0),
        ((READ, NULL_PATH, NULL_ACL), 1),
        ((create_op("/a"), READ, NULL_ACL), 1),
    ],
)
def test_undecodable_multi_takes_a_zxid_unless_it_fails_at_a_null_acl(
    world: World, client: Client, operations: tuple[tuple[int, Record], ...], taken: int
) -> None:
    before = client.call(opcodes.PING).zxid
    reply = client.call(opcodes.MULTI, multi_body(*operations))
    assert (reply.err, reply.zxid - before) == (errors.MARSHALLINGERROR, taken)


# --- multiRead -----------------------------------------------------------------------------------------------------


def read_op(op: int, path: str, watch: bool = False) -> tuple[int, Record]:
    return op, GetDataRequest(path, watch)


def test_multi_read_answers_each_operation_for_itself(world: World, client: Client) -> None:
    client.create("/a", b"data")
    client.create("/a/b")
    client.create("/shut", entries=acl((opcodes.PERM_WRITE, "world", "anyone")))
    zxid = world.tree.last_zxid
    reply = client.multi(
        read_op(opcodes.GET_DATA, "/a"),
        read_op(opcodes.GET_DATA, "/missing"),
        read_op(opcodes.GET_CHILDREN, "/a"),
        read_op(opcodes.GET_CHILDREN, "/shut"),
        op=opcodes.MULTI_READ,
    )
    assert (reply.zxid, world.tree.last_zxid) == (zxid, zxid)
    assert parts_of(reply) == [
        Part(opcodes.GET_DATA, 0, GetDataResponse(b"data", client.stat("/a"))),
        Part(opcodes.ERROR, errors.NONODE, ErrorResponse(errors.NONODE)),
        Part(opcodes.GET_CHILDREN, 0, GetChildrenResponse(["b"])),
        Part(opcodes.ERROR, errors.NOAUTH, ErrorResponse(errors.NOAUTH)),
    ]


def test_multi_read_leaves_no_watches(world: World, client: Client) -> None:
    client.multi(read_op(opcodes.GET_DATA, "/", True), read_op(opcodes.GET_CHILDREN, "/", True), op=opcodes.MULTI_READ)
    assert world.keeper.watches.total == 0


def test_multi_read_of_anything_else_is_an_error(client: Client) -> None:
    for operation in (create_op("/a"), read_op(opcodes.EXISTS, "/"), read_op(opcodes.GET_CHILDREN2, "/")):
        reply = client.multi(read_op(opcodes.GET_DATA, "/"), operation, op=opcodes.MULTI_READ)
        assert (reply.err, reply.body) == (errors.MARSHALLINGERROR, b"")


def test_empty_multi_read_is_answered_with_its_end(client: Client) -> None:
    assert client.multi(op=opcodes.MULTI_READ).body == END
