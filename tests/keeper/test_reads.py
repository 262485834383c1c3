"""Reads: what the Stat says, what each answer holds, and which error comes first (client protocol, sections 6.7, 8)."""

import pytest

from tests.keeper.harness import WALL_MS, Client, Reply, World, acl, stat_of
from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    ClientInfo,
    GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse,
    GetChildren2Response,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    Stat,
    SyncRequest,
    SyncResponse,
    WhoAmIResponse,
)

WRITE_ONLY = acl((opcodes.PERM_WRITE, "world", "anyone"))


def ephemerals(client: Client, prefix: str | None) -> list[str | None]:
    reply = client.call(opcodes.GET_EPHEMERALS, GetEphemeralsRequest(prefix))
    return sorted(GetEphemeralsResponse.decode(reply.body, 0)[0].ephemerals or [], key=str)


def descendants(client: Client, path: str) -> int:
    reply = client.call(opcodes.GET_ALL_CHILDREN_NUMBER, GetAllChildrenNumberRequest(path))
    assert reply.err == 0
    return GetAllChildrenNumberResponse.decode(reply.body, 0)[0].total_number


# --- stats ---------------------------------------------------------------------------------------------------------


def test_fresh_tree_has_its_known_stats(client: Client) -> None:
    root = client.exists("/")
    assert root.body.hex() == "00" * 36 + "ffffffff" + "00" * 16 + "00000001" + "00" * 8
    assert stat_of(client.exists("/zookeeper")) == Stat(0, 0, 0, 0, 0, -2, 0, 0, 0, 2, 0)
    assert stat_of(client.exists("/zookeeper/config")) == Stat(0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0)
    assert stat_of(client.exists("/zookeeper/quota")) == Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert [client.data(path) for path in ("/", "/zookeeper", "/zookeeper/config")] == [b"", b"", b""]
    assert client.names("/zookeeper") == ["config", "quota"]


def test_cversion_counts_creations_and_deletions_of_children(client: Client) -> None:
    client.create("/p")
    seen = []
    for change in (
        lambda: client.create("/p/a"),
        lambda: client.create("/p/b"),
        lambda: client.delete("/p/a"),
        lambda: client.set("/p/b"),
        lambda: client.delete("/p/b"),
        lambda: client.create("/p/b"),
        lambda: client.create("/p/b"),
    ):
        change()
        seen.append(client.stat("/p").cversion)
    assert seen == [1, 2, 3, 3, 4, 5, 5]


def test_pzxid_is_that_of_the_last_child_made_or_gone(world: World, client: Client) -> None:
    client.create("/p")
    client.create("/p/c")
    made = world.tree.last_zxid
    client.set("/p/c")
    client.create("/p/c/grandchild")
    assert client.stat("/p").pzxid == made
    client.delete("/p/c/grandchild")
    client.delete("/p/c")
    assert client.stat("/p").pzxid == world.tree.last_zxid


def test_all_reads_show_the_same_stat(client: Client) -> None:
    client.create("/a", b"data")
    client.create("/a/b")
    stat = client.stat("/a")
    assert GetDataResponse.decode(client.get("/a").body, 0)[0].stat == stat
    assert GetChildren2Response.decode(client.children("/a").body, 0)[0].stat == stat
    assert client.get_acl("/a").body.endswith(stat.to_bytes())


def test_answer_that_was_kept_is_renewed_by_every_kind_of_change(world: World, client: Client) -> None:
    client.create("/a", b"1")
    for change in (
        lambda: client.set("/a", b"22"),
        lambda: client.create("/a/b"),
        lambda: client.delete("/a/b"),
        lambda: client.set_acl("/a", acl((31, "world", "anyone"), (1, "ip", "1.2.3.4"))),
        lambda: (client.delete("/a"), client.create("/a", b"new")),
    ):
        change()
        answer = GetDataResponse.decode(client.get("/a").body, 0)[0]
        assert answer.stat == client.stat("/a")
        assert answer.data == world.tree.nodes["/a"].data


# --- answers -------------------------------------------------------------------------------------------------------


def test_reads_take_no_zxid_and_answer_with_the_last_applied(world: World, client: Client) -> None:
    client.create("/a")
    zxid = world.tree.last_zxid
    for reply in (
        client.get("/a"),
        client.get("/missing"),
        client.exists("/missing"),
        client.children("/a"),
        client.call(opcodes.PING),
        client.call(opcodes.SYNC, SyncRequest("/")),
        client.call(opcodes.GET_DATA, b"\xff"),
    ):
        assert reply.zxid == zxid
    assert world.tree.last_zxid == zxid


def test_children_come_with_and_without_a_stat(client: Client) -> None:
    for path in ("/p", "/p/a", "/p/b", "/p/b/c"):
        client.create(path)
    assert client.names("/p") == ["a", "b"]
    reply = client.call(opcodes.GET_CHILDREN, GetDataRequest("/p", False))
    answer, end = GetChildrenResponse.decode(reply.body, 0)
    assert sorted(map(str, answer.children or [])) == ["a", "b"]
    assert end == len(reply.body)
    assert client.names("/p/a") == []


@pytest.mark.parametrize("parent", ["", "/p", "/p/q"])
@pytest.mark.parametrize(
    "names",
    [["a"], ["a1", "a2", "a3"], ["a", "bcd", "ef"], ["ä1", "b2"], ["aa", "ä"], ["n" * 127, "m" * 127], ["x" * 200]],
)
def test_names_of_children_are_encoded_one_by_one_whatever_they_are(
    client: Client, parent: str, names: list[str]
) -> None:
    for path in ("/p", "/p/q"):
        client.create(path)
    for name in names:
        client.create(f"{parent}/{name}")
    expected = sorted([*names, *{"": ("p", "zookeeper"), "/p": ("q",), "/p/q": ()}[parent]])
    reply = client.call(opcodes.GET_CHILDREN, GetDataRequest(parent or "/", False))
    assert sorted(map(str, GetChildrenResponse.decode(reply.body, 0)[0].children or [])) == expected


@pytest.mark.parametrize("op", [opcodes.EXISTS, opcodes.GET_DATA, opcodes.GET_CHILDREN, opcodes.GET_CHILDREN2])
@pytest.mark.parametrize(
    ("path", "code"), [("/missing", errors.NONODE), ("/shut", errors.NOAUTH), (None, errors.MARSHALLINGERROR)]
)
def test_reads_refuse(world: World, client: Client, op: int, path: str | None, code: int) -> None:
    client.create("/shut", entries=WRITE_ONLY)
    assert client.call(op, GetDataRequest(path, False)) == Reply(client.xid, world.tree.last_zxid, code)


@pytest.mark.parametrize("path", ["a", "/a/", "//", "/.", "/a\x01"])
def test_malformed_paths_are_merely_not_there(client: Client, path: str) -> None:
    client.create("/a")
    for op in (opcodes.EXISTS, opcodes.GET_DATA, opcodes.GET_CHILDREN, opcodes.GET_CHILDREN2, opcodes.GET_ACL):
        assert client.call(op, GetDataRequest(path, False)).err == errors.NONODE


def test_exists_alone_minds_a_null_character(client: Client) -> None:
    assert client.exists("/a\0").err == errors.BADARGUMENTS
    assert client.get("/a\0").err == errors.NONODE


def test_empty_path_reads_the_root(client: Client) -> None:
    assert client.exists("").body == client.exists("/").body
    assert client.get("").err == 0


def test_sync_gives_any_path_back(client: Client) -> None:
    for path in ("/", "/missing", "nonsense", "", None):
        reply = client.call(opcodes.SYNC, SyncRequest(path))
        assert reply.err == 0
        assert SyncResponse.decode(reply.body, 0)[0].path == path


@pytest.mark.parametrize("xid", [-2, 5, 0, -77])
def test_answer_to_a_ping_always_has_the_pings_xid(world: World, client: Client, xid: int) -> None:
    assert client.call(opcodes.PING, xid=xid) == Reply(-2, world.tree.last_zxid, 0)


@pytest.mark.parametrize("xid", [1, 0, -5, 2**31 - 1, -(2**31)])
def test_other_xids_come_back_as_they_were(client: Client, xid: int) -> None:
    assert client.call(opcodes.EXISTS, GetDataRequest("/", False), xid).xid == xid
    assert client.call(opcodes.MULTI, b"\xff\xff\xff\xff\1\xff\xff\xff\xff", xid).xid == xid


# --- counts and lists ----------------------------------------------------------------------------------------------


def test_all_children_number_counts_descendants(client: Client) -> None:
    for path in ("/a", "/a/b", "/a/b/c", "/ab", "/ab/x"):
        client.create(path)
    assert descendants(client, "/a") == 2
    assert descendants(client, "/a/b/c") == 0
    assert descendants(client, "/") == 8, "all but the root: /zookeeper with its two, and five of ours"


def test_all_children_number_needs_the_node_and_read(client: Client) -> None:
    client.create("/shut", entries=WRITE_ONLY)
    for path, code in (("/missing", errors.NONODE), ("/shut", errors.NOAUTH), (None, errors.MARSHALLINGERROR)):
        assert client.call(opcodes.GET_ALL_CHILDREN_NUMBER, GetAllChildrenNumberRequest(path)).err == code


def test_ephemerals_are_this_sessions_by_plain_prefix(world: World, client: Client) -> None:
    other = world.client()
    for path in ("/p", "/pq"):
        client.create(path, flags=opcodes.EPHEMERAL, entries=WRITE_ONLY)
    other.create("/p2", flags=opcodes.EPHEMERAL)
    client.create("/plain")
    for everything in (None, "", "/", " ", " / ", "\t"):
        assert ephemerals(client, everything) == ["/p", "/pq"]
    assert ephemerals(client, "/p") == ["/p", "/pq"]
    assert ephemerals(client, "/pq") == ["/pq"]
    assert ephemerals(client, "/p2") == []
    assert ephemerals(client, "p") == []
    assert ephemerals(other, "/") == ["/p2"]


def test_who_am_i_names_users_without_their_secrets(client: Client) -> None:
    reply = client.call(opcodes.WHO_AM_I)
    assert reply.body.hex() == "00000001" + "00000002" + b"ip".hex() + "00000009" + b"127.0.0.1".hex()
    client.auth("digest", b"user:secret")
    answer = WhoAmIResponse.decode(client.call(opcodes.WHO_AM_I).body, 0)[0]
    assert answer.client_info == [ClientInfo("ip", "127.0.0.1"), ClientInfo("digest", "user")]


def test_times_are_the_wall_clock_when_the_write_was_judged(world: World, client: Client) -> None:
    world.holds_log = True
    world.advance(500)
    client.post(opcodes.MULTI, b"\xff\xff\xff\xff\1\xff\xff\xff\xff")
    world.advance(500)
    world.sync()
    assert world.txns()[-1][0].time == WALL_MS + 500
