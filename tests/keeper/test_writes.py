"""create and its kin, delete, setData, setACL: effects, and which check speaks first (client protocol, section 6)."""

import pytest

from tests.keeper.harness import OPEN, WALL_MS, Client, Reply, World, acl, path_of, stat_of
from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    ACL,
    Create2Response,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    GetDataRequest,
    ReconfigRequest,
    SetDataRequest,
)
from zkpy.tree.datatree import DataTree
from zkpy.tree.znode import CONTAINER_OWNER, TTL_MASK

CLOSED_TO_ALL = acl((opcodes.PERM_ALL, "digest", "u:h"))
READ_ONLY = acl((opcodes.PERM_READ, "world", "anyone"))


def create_ttl(client: Client, path: str, ttl_ms: int, flags: int = opcodes.PERSISTENT_TTL) -> Reply:
    return client.call(opcodes.CREATE_TTL, CreateTTLRequest(path, b"", OPEN, flags, ttl_ms))


# --- effects -------------------------------------------------------------------------------------------------------


def test_create_answers_the_path_and_fills_the_stat(world: World, client: Client) -> None:
    world.advance(1234)
    reply = client.create("/a", b"data")
    zxid = world.tree.last_zxid
    assert reply.zxid == zxid
    assert path_of(reply) == "/a"
    stat = client.stat("/a")
    assert (stat.czxid, stat.mzxid, stat.pzxid) == (zxid, zxid, zxid)
    assert (stat.ctime, stat.mtime) == (WALL_MS + 1234, WALL_MS + 1234)
    assert (stat.version, stat.cversion, stat.aversion, stat.ephemeral_owner) == (0, 0, 0, 0)
    assert (stat.data_length, stat.num_children) == (4, 0)


def test_create2_answers_path_and_stat(client: Client) -> None:
    answer = Create2Response.decode(client.create("/a", b"xy", op=opcodes.CREATE2).body, 0)[0]
    assert answer.path == "/a"
    assert answer.stat == client.stat("/a")
    assert answer.stat.data_length == 2


@pytest.mark.parametrize("op", [opcodes.CREATE, opcodes.CREATE2])
def test_ephemeral_belongs_to_its_session(client: Client, op: int) -> None:
    client.create("/e", flags=opcodes.EPHEMERAL, op=op)
    assert client.stat("/e").ephemeral_owner == client.session_id


def test_what_a_node_becomes_is_decided_by_the_opcode(world: World, client: Client) -> None:
    client.create("/plain", flags=opcodes.CONTAINER, op=opcodes.CREATE)
    client.create("/container", flags=opcodes.PERSISTENT, op=opcodes.CREATE_CONTAINER)
    client.create("/container2", flags=opcodes.CONTAINER, op=opcodes.CREATE_CONTAINER)
    owners = {path: world.tree.nodes[path].owner for path in ("/plain", "/container", "/container2")}
    assert owners == {"/plain": 0, "/container": CONTAINER_OWNER, "/container2": CONTAINER_OWNER}
    assert client.stat("/container").ephemeral_owner == 0


def test_create_raises_the_parents_counters_and_pzxid_alone(world: World, client: Client) -> None:
    client.create("/p")
    before = client.stat("/p")
    client.create("/p/c")
    after = client.stat("/p")
    assert (after.cversion, after.pzxid, after.num_children) == (1, world.tree.last_zxid, 1)
    assert (after.version, after.mzxid, after.mtime) == (before.version, before.mzxid, before.mtime)
    client.delete("/p/c")
    gone = client.stat("/p")
    assert (gone.cversion, gone.pzxid, gone.num_children) == (2, world.tree.last_zxid, 0)


def test_null_data_is_not_empty_data(client: Client) -> None:
    client.create("/null", None)
    client.create("/empty", b"")
    assert client.data("/null") is None
    assert client.data("/empty") == b""
    assert client.stat("/null").data_length == 0
    client.set("/empty", None)
    assert client.data("/empty") is None


def test_set_data_raises_version_mzxid_and_mtime(world: World, client: Client) -> None:
    client.create("/a")
    before = client.stat("/a")
    world.advance(7)
    stat = stat_of(client.set("/a", b"new", 0))
    assert (stat.version, stat.mzxid, stat.mtime) == (1, world.tree.last_zxid, before.mtime + 7)
    assert (stat.czxid, stat.ctime, stat.pzxid, stat.aversion) == (before.czxid, before.ctime, before.pzxid, 0)
    assert stat.data_length == 3
    assert client.data("/a") == b"new"


def test_set_acl_raises_aversion_alone(client: Client) -> None:
    client.create("/a")
    before = client.stat("/a")
    stat = stat_of(client.set_acl("/a", READ_ONLY, 0))
    assert stat.aversion == 1
    stat.aversion = 0
    assert stat == before


def test_delete_answers_with_a_bare_header(world: World, client: Client) -> None:
    client.create("/a")
    assert client.delete("/a", 0) == Reply(client.xid, world.tree.last_zxid, 0)
    assert client.exists("/a").err == errors.NONODE


@pytest.mark.parametrize("path", ["/", "/zookeeper", "/zookeeper/quota"])
def test_system_nodes_may_be_written_and_have_children(client: Client, path: str) -> None:
    assert client.set(path, b"x").err == 0
    assert client.create(path.rstrip("/") + "/child").err == 0


def test_data_version_wraps(world: World, client: Client) -> None:
    client.create("/a")
    world.tree.nodes["/a"].version = 0x7FFFFFFF
    world.tree.nodes["/a"].digest = -1
    world.tree.digest = world.keeper.outstanding.digest = world.tree.compute_digest()
    assert stat_of(client.set("/a")).version == -0x80000000


# --- sequential names ----------------------------------------------------------------------------------------------


def test_sequential_number_is_the_count_of_children_ever_created(client: Client) -> None:
    client.create("/p")
    assert path_of(client.create("/p/s", flags=opcodes.PERSISTENT_SEQUENTIAL)) == "/p/s0000000000"
    client.create("/p/plain")
    assert path_of(client.create("/p/s", flags=opcodes.EPHEMERAL_SEQUENTIAL)) == "/p/s0000000002"
    client.delete("/p/plain")
    client.set("/p", b"x")
    client.create("/p/plain")
    client.create("/p/plain")  # refused: does not count
    assert path_of(client.create("/p/", flags=opcodes.PERSISTENT_SEQUENTIAL)) == "/p/0000000004"


def test_first_sequential_node_of_the_root_is_number_zero(client: Client) -> None:
    assert path_of(client.create("/s-", flags=opcodes.PERSISTENT_SEQUENTIAL)) == "/s-0000000000"


def test_counter_starts_again_with_a_new_parent(client: Client) -> None:
    for _ in range(2):
        client.create("/p")
        path = path_of(client.create("/p/s", flags=opcodes.PERSISTENT_SEQUENTIAL))
        assert path == "/p/s0000000000"
        client.delete(path)
        client.delete("/p")


def test_counter_wraps_to_negative_numbers_with_their_sign_in_the_width(world: World, client: Client) -> None:
    client.create("/p")
    world.tree.nodes["/p"].cversion = 0x7FFFFFFF
    world.tree.nodes["/p"].digest = -1
    world.tree.digest = world.keeper.outstanding.digest = world.tree.compute_digest()
    assert path_of(client.create("/p/s", flags=opcodes.PERSISTENT_SEQUENTIAL)) == "/p/s2147483647"
    # The txn's counter went below the stored one, which is never lowered (DataTree.createNode).
    assert world.tree.nodes["/p"].cversion == 0x7FFFFFFF


def test_counters_of_proposed_creates_are_seen_by_the_next(world: World, client: Client) -> None:
    client.create("/p")
    world.holds_log = True
    create = CreateRequest("/p/s", b"", OPEN, opcodes.PERSISTENT_SEQUENTIAL)
    client.send(*(client.request(opcodes.CREATE, create) for _ in range(3)))
    assert client.take() == []
    world.sync()
    paths = [path_of(packet) for packet in client.take() if isinstance(packet, Reply)]
    assert paths == [f"/p/s000000000{number}" for number in range(3)]


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "flags", "entries", "code"),
    [
        ("/a", 7, OPEN, errors.BADARGUMENTS),
        ("/a", -1, OPEN, errors.BADARGUMENTS),
        ("/a", opcodes.PERSISTENT_TTL, OPEN, errors.UNIMPLEMENTED),
        ("/a", opcodes.PERSISTENT_SEQUENTIAL_TTL, None, errors.UNIMPLEMENTED),
        (None, 0, OPEN, errors.MARSHALLINGERROR),
        ("a", 0, OPEN, errors.BADARGUMENTS),
        ("", 0, OPEN, errors.BADARGUMENTS),
        ("a", 0, None, errors.BADARGUMENTS),
        ("/a\0b", 0, None, errors.BADARGUMENTS),
        ("/missing/a", 0, None, errors.INVALIDACL),
        ("/missing/a", 0, [], errors.INVALIDACL),
        ("/missing/a", 0, acl((1, "nobody", "x")), errors.INVALIDACL),
        ("/missing/a", 0, OPEN, errors.NONODE),
        ("/missing/", 0, OPEN, errors.NONODE),
        ("/shut/a/", 0, OPEN, errors.NONODE),
        ("/shut/", 0, OPEN, errors.NOAUTH),
        ("/shut/a", 0, OPEN, errors.NOAUTH),
        ("/ephemeral/", 0, OPEN, errors.BADARGUMENTS),
        ("/there/", 0, OPEN, errors.BADARGUMENTS),
        ("/there/.", 0, OPEN, errors.BADARGUMENTS),
        ("/there/..", 0, OPEN, errors.BADARGUMENTS),
        ("/.", 0, OPEN, errors.BADARGUMENTS),
        ("//", 0, OPEN, errors.BADARGUMENTS),
        ("/there/\x1f", 0, OPEN, errors.BADARGUMENTS),
        ("/there/\x7f", 0, OPEN, errors.BADARGUMENTS),
        ("/there/\ue000", 0, OPEN, errors.BADARGUMENTS),
        ("/there/\U0001f600", 0, OPEN, errors.BADARGUMENTS),
        ("/there/\ufff0", 0, OPEN, errors.BADARGUMENTS),
        ("/there", 0, OPEN, errors.NODEEXISTS),
        ("/", 0, OPEN, errors.NODEEXISTS),
        ("/ephemeral/there", 0, OPEN, errors.NOCHILDRENFOREPHEMERALS),
    ],
)
@pytest.mark.parametrize("op", [opcodes.CREATE, opcodes.CREATE2, opcodes.CREATE_CONTAINER])
def test_create_refuses_for_the_first_reason_it_meets(
    world: World, client: Client, op: int, path: str | None, flags: int, entries: list[ACL] | None, code: int
) -> None:
    client.create("/there")
    client.create("/shut", entries=READ_ONLY)
    client.create("/ephemeral", flags=opcodes.EPHEMERAL)
    before = len(world.tree.nodes)
    zxid = world.tree.last_zxid
    assert client.create(path, b"", flags, entries, op) == Reply(client.xid, zxid + 1, code)
    assert len(world.tree.nodes) == before
    assert world.txns()[-1][0].type == opcodes.ERROR
    assert world.txns()[-1][1].err == code


def test_root_may_not_be_created_again(client: Client) -> None:
    # "/" splits into the parent "", which is the root, and the name "".
    assert client.create("/").err == errors.NODEEXISTS


@pytest.mark.parametrize("path", ["/ ", "/\u00a0", "/...", "/a.b", "/\u4e2d\u6587", "/\ud7ff", "/\uf900", "/\uffef"])
def test_other_characters_are_fine(client: Client, path: str) -> None:
    assert path_of(client.create(path)) == path


def test_path_that_ends_with_a_slash_is_fine_for_a_sequential_node(client: Client) -> None:
    client.create("/p")
    assert path_of(client.create("/p/", flags=opcodes.PERSISTENT_SEQUENTIAL)) == "/p/0000000000"


@pytest.mark.parametrize("op", [opcodes.CREATE_CONTAINER, opcodes.CREATE])
def test_containers_may_have_children_of_any_kind(client: Client, op: int) -> None:
    client.create("/c", op=op)
    assert client.create("/c/e", flags=opcodes.EPHEMERAL).err == 0
    assert client.create("/c/c", op=opcodes.CREATE_CONTAINER).err == 0


def test_create_refuses_on_a_parent_that_is_about_to_go(world: World, client: Client) -> None:
    client.create("/p")
    world.holds_log = True
    client.send(
        client.request(opcodes.DELETE, DeleteRequest("/p", -1)),
        client.request(opcodes.CREATE, CreateRequest("/p/c", b"", OPEN, 0)),
        client.request(opcodes.CREATE, CreateRequest("/p", b"", OPEN, 0)),
        client.request(opcodes.CREATE, CreateRequest("/p", b"", OPEN, 0)),
    )
    world.sync()
    codes = [packet.err for packet in client.take() if isinstance(packet, Reply)]
    assert codes == [0, errors.NONODE, 0, errors.NODEEXISTS]


@pytest.mark.parametrize(
    ("path", "version", "code"),
    [
        (None, -1, errors.MARSHALLINGERROR),
        ("a", -1, errors.BADARGUMENTS),
        ("", -1, errors.BADARGUMENTS),
        ("/a\0", -1, errors.BADARGUMENTS),
        ("/", -1, errors.BADARGUMENTS),
        ("/zookeeper", -1, errors.BADARGUMENTS),
        ("/zookeeper/quota", -1, errors.BADARGUMENTS),
        ("/zookeeper/config", -1, errors.BADARGUMENTS),
        ("/missing/a", -1, errors.NONODE),
        ("/shut/child", 99, errors.NOAUTH),
        ("/shut/missing", -1, errors.NOAUTH),
        ("/full/missing", -1, errors.NONODE),
        ("/full/", -1, errors.NONODE),
        ("/full", 1, errors.BADVERSION),
        ("/full", -2, errors.BADVERSION),
        ("/full", 0, errors.NOTEMPTY),
        ("/full", -1, errors.NOTEMPTY),
    ],
)
def test_delete_refuses_for_the_first_reason_it_meets(
    world: World, client: Client, path: str | None, version: int, code: int
) -> None:
    client.create("/shut")
    client.create("/shut/child")
    client.set_acl("/shut", acl((opcodes.PERM_ALL & ~opcodes.PERM_DELETE, "world", "anyone")))
    client.create("/full")
    client.create("/full/child")
    zxid = world.tree.last_zxid
    assert client.delete(path, version) == Reply(client.xid, zxid + 1, code)


def test_delete_asks_the_parents_acl_and_not_the_nodes(client: Client) -> None:
    client.create("/p")
    client.create("/p/c", entries=CLOSED_TO_ALL)
    assert client.delete("/p/c").err == 0


def test_node_whose_last_child_is_about_to_go_may_be_deleted(world: World, client: Client) -> None:
    client.create("/p")
    client.create("/p/c")
    world.holds_log = True
    client.send(
        client.request(opcodes.DELETE, DeleteRequest("/p/c", -1)),
        client.request(opcodes.DELETE, DeleteRequest("/p", -1)),
    )
    world.sync()
    assert [packet.err for packet in client.take() if isinstance(packet, Reply)] == [0, 0]


def test_node_with_a_child_on_its_way_may_not_be_deleted(world: World, client: Client) -> None:
    client.create("/p")
    world.holds_log = True
    client.send(
        client.request(opcodes.CREATE, CreateRequest("/p/c", b"", OPEN, 0)),
        client.request(opcodes.DELETE, DeleteRequest("/p", -1)),
    )
    world.sync()
    assert [packet.err for packet in client.take() if isinstance(packet, Reply)] == [0, errors.NOTEMPTY]


@pytest.mark.parametrize(
    ("path", "version", "code"),
    [
        (None, -1, errors.BADARGUMENTS),
        ("", -1, errors.BADARGUMENTS),
        ("a", -1, errors.BADARGUMENTS),
        ("/a/", -1, errors.BADARGUMENTS),
        ("/missing//x", -1, errors.BADARGUMENTS),
        ("/missing", 5, errors.NONODE),
        ("/shut", 5, errors.NOAUTH),
        ("/a", 1, errors.BADVERSION),
        ("/a", -2, errors.BADVERSION),
    ],
)
def test_set_data_refuses_for_the_first_reason_it_meets(
    world: World, client: Client, path: str | None, version: int, code: int
) -> None:
    client.create("/a")
    client.create("/shut", entries=READ_ONLY)
    zxid = world.tree.last_zxid
    assert client.set(path, b"x", version) == Reply(client.xid, zxid + 1, code)


@pytest.mark.parametrize(
    ("path", "entries", "version", "code"),
    [
        (None, OPEN, -1, errors.BADARGUMENTS),
        ("", None, -1, errors.BADARGUMENTS),
        ("/a/", None, -1, errors.BADARGUMENTS),
        ("/missing", None, -1, errors.INVALIDACL),
        ("/missing", OPEN, 5, errors.NONODE),
        ("/shut", OPEN, 5, errors.NOAUTH),
        ("/shut", [], 5, errors.INVALIDACL),
        ("/a", OPEN, 1, errors.BADVERSION),
    ],
)
def test_set_acl_refuses_for_the_first_reason_it_meets(
    client: Client, path: str | None, entries: list[ACL] | None, version: int, code: int
) -> None:
    client.create("/a")
    client.set("/a")  # the data version is 1, the ACL's is 0
    client.create("/shut", entries=READ_ONLY)
    assert client.set_acl(path, entries, version).err == code


def test_versions_are_judged_by_what_is_proposed(world: World, client: Client) -> None:
    client.create("/a")
    world.holds_log = True
    client.send(*(client.request(opcodes.SET_DATA, SetDataRequest("/a", b"", version)) for version in (0, 0, 1)))
    world.sync()
    assert [packet.err for packet in client.take() if isinstance(packet, Reply)] == [0, errors.BADVERSION, 0]


# --- TTL -----------------------------------------------------------------------------------------------------------


def test_ttl_nodes_are_off_by_default(client: Client) -> None:
    assert create_ttl(client, "/t", 1000).err == errors.UNIMPLEMENTED
    assert create_ttl(client, "bad path", 1000).err == errors.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("flags", "ttl_ms", "code"),
    [
        (opcodes.PERSISTENT_TTL, 1, 0),
        (opcodes.PERSISTENT_TTL, (1 << 40) - 1, 0),
        (opcodes.PERSISTENT_TTL, 0, errors.BADARGUMENTS),
        (opcodes.PERSISTENT_TTL, -1, errors.BADARGUMENTS),
        (opcodes.PERSISTENT_TTL, 1 << 40, errors.BADARGUMENTS),
        (opcodes.PERSISTENT, 5, errors.BADARGUMENTS),
        (opcodes.PERSISTENT, -1, errors.BADARGUMENTS),  # Apache passes this one and fails while applying it
        (99, 5, errors.BADARGUMENTS),
    ],
)
def test_ttl_has_its_bounds(flags: int, ttl_ms: int, code: int) -> None:
    world = World(DataTree(extended_types=True))
    client = world.client()
    assert create_ttl(client, "/t", ttl_ms, flags).err == code
    if not code:
        assert world.tree.nodes["/t"].owner == TTL_MASK | ttl_ms
        assert client.stat("/t").ephemeral_owner == 0
        assert client.create("/t/child", flags=opcodes.EPHEMERAL).err == 0
    world.check()


def test_sequential_ttl_node_gets_its_number() -> None:
    world = World(DataTree(extended_types=True))
    client = world.client()
    reply = create_ttl(client, "/t", 10, opcodes.PERSISTENT_SEQUENTIAL_TTL)
    answer = Create2Response.decode(reply.body, 0)[0]
    assert answer.path == "/t0000000000"
    assert answer.stat == client.stat("/t0000000000")


@pytest.mark.parametrize("flags", [opcodes.PERSISTENT_TTL, opcodes.PERSISTENT_SEQUENTIAL_TTL])
def test_ttl_flags_without_a_ttl_are_bad(flags: int) -> None:
    world = World(DataTree(extended_types=True))
    assert world.client().create("/t", flags=flags).err == errors.BADARGUMENTS


# --- what every write has in common --------------------------------------------------------------------------------


def test_failed_write_takes_a_zxid_and_is_logged(world: World, client: Client) -> None:
    zxid = world.tree.last_zxid
    for number in range(1, 4):
        assert client.delete("/missing").zxid == zxid + number
        header, txn = world.txns()[-1]
        assert (header.zxid, header.type, txn.err) == (zxid + number, opcodes.ERROR, errors.NONODE)
        assert (header.client_id, header.cxid) == (client.session_id, client.xid)


def test_zxids_have_no_holes(world: World, client: Client) -> None:
    client.create("/a")
    client.delete("/missing")
    client.call(opcodes.CREATE, b"\xff")
    client.multi()
    client.close_session()
    zxids = [zxid for zxid, _ in world.log]
    assert zxids == list(range(1, len(zxids) + 1))


def test_txn_carries_the_digest_of_the_tree_after_it(world: World, client: Client) -> None:
    digest = world.tree.digest
    client.create("/a", b"x")
    assert world.tree.digest == world.tree.compute_digest() != digest
    client.delete("/a")
    assert world.tree.digest == world.tree.compute_digest()


def test_usual_and_unusual_requests_are_logged_alike(world: World, client: Client) -> None:
    """The usual create and setData are decoded by hand; the first time an ACL is seen it goes the long way."""
    for name in "ab":
        client.create(f"/{name}", b"data")
        client.set(f"/{name}", b"more")
    first, second = (
        [(head.type, txn) for head, txn in world.txns() if getattr(txn, "path", None) == path] for path in ("/a", "/b")
    )
    for (_, one), (_, other) in zip(first, second, strict=True):
        one.path = other.path
        if hasattr(one, "parent_c_version"):
            one.parent_c_version = other.parent_c_version
    assert first == second


def test_trailing_bytes_are_ignored(client: Client) -> None:
    body = CreateRequest("/a", b"x", OPEN, 0).to_bytes()
    for name in (b"a", b"b"):
        assert client.call(opcodes.CREATE, body.replace(b"/a", b"/" + name) + b"rest").err == 0
    assert client.call(opcodes.SET_DATA, SetDataRequest("/a", b"y", 0).to_bytes() + b"rest").err == 0
    assert client.call(opcodes.DELETE, DeleteRequest("/b", -1).to_bytes() + b"rest").err == 0
    assert client.call(opcodes.GET_DATA, GetDataRequest("/a", False).to_bytes() + b"rest").err == 0


@pytest.mark.parametrize(("enabled", "code"), [(False, errors.RECONFIGDISABLED), (True, errors.UNIMPLEMENTED)])
def test_reconfig_is_nothing_for_a_single_server(enabled: bool, code: int) -> None:
    client = World(reconfig_enabled=enabled).client()
    assert client.call(opcodes.RECONFIG, ReconfigRequest("", "", "", -1)).err == code


@pytest.mark.parametrize("op", [opcodes.CREATE_SESSION, opcodes.DELETE_CONTAINER, opcodes.CHECK])
def test_operations_of_the_server_itself_are_refused_to_clients(world: World, op: int) -> None:
    client = world.client()
    client.create("/empty")
    client.post(op, b"\0\0\0\6/empty\xff\xff\xff\xff")
    assert client.reply() == Reply(client.xid, -1, errors.UNIMPLEMENTED)
    assert client.is_closed
    assert "/empty" in world.tree.nodes
