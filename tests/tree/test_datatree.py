"""The tree under txns: each rule, each rule again (as replay over a fuzzy snapshot does), and what it reports."""

from struct import unpack
from typing import Any

import pytest

from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Stat,
    Txn,
    TxnHeader,
)
from zkpy.tree.acl import OPEN, READ_ONLY, from_key
from zkpy.tree.datatree import CREATED, DATA_CHANGED, DELETED, DIGEST_LOG_LIMIT, DataTree, Result
from zkpy.tree.znode import CONTAINER, CONTAINER_OWNER, NORMAL, TTL, TTL_MASK, VOID, ZNode, kind_of, wrap_int

SESSION = 0x0100000804B30000


class Tree(DataTree):
    """A tree that makes the headers itself: each txn is the next zxid, at time 1000 times that, unless it is told."""

    def do(self, type_: int, txn: Any, zxid: int | None = None, client_id: int = SESSION) -> Result:
        zxid = self.last_zxid + 1 if zxid is None else zxid
        result = self.apply(TxnHeader(client_id, 1, zxid, zxid * 1000, type_), txn)
        self.check()
        return result

    def create(self, path: str, data: bytes | None = b"", cversion: int = 1, zxid: int | None = None) -> Result:
        return self.do(opcodes.CREATE, CreateTxn(path, data, OPEN, False, cversion), zxid)

    def ephemeral(self, path: str, session_id: int = SESSION, cversion: int = 1) -> Result:
        return self.do(opcodes.CREATE, CreateTxn(path, b"", OPEN, True, cversion), None, session_id)

    def delete(self, path: str, zxid: int | None = None) -> Result:
        return self.do(opcodes.DELETE, DeleteTxn(path), zxid)

    def set_data(self, path: str, data: bytes | None, version: int) -> Result:
        return self.do(opcodes.SET_DATA, SetDataTxn(path, data, version))

    def stat(self, path: str) -> Stat:
        return Stat.decode(self.nodes[path].stat(self.extended_types), 0)[0]


@pytest.fixture
def tree() -> Tree:
    return Tree(extended_types=True)


# --- a new tree ----------------------------------------------------------------------------------------------------


def test_new_tree_has_the_system_nodes(tree: Tree) -> None:
    assert sorted(tree.nodes) == ["", "/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]
    assert tree.node_count == 5, "as Apache counts: the root twice"
    assert tree.nodes["/zookeeper/config"].acl is READ_ONLY
    assert tree.nodes["/zookeeper/config"].aversion == -1
    assert {tree.nodes[path].acl for path in ("/", "/zookeeper", "/zookeeper/quota")} == {OPEN}
    assert tree.data_size == len("/" + "/zookeeper" + "/zookeeper/config" + "/zookeeper/quota")
    tree.check()


# --- create --------------------------------------------------------------------------------------------------------


def test_create_makes_the_node_and_counts_it_at_its_parent(tree: Tree) -> None:
    result = tree.create("/a", b"data", cversion=7)
    assert (result.err, result.path, result.stat) == (0, "/a", None)
    assert tree.stat("/a") == Stat(1, 1, 1000, 1000, 0, 0, 0, 0, 4, 0, 1)
    assert (tree.nodes["/"].cversion, tree.nodes["/"].pzxid) == (7, 1)
    assert tree.take_changes() == [(CREATED, "/a", OPEN, "/", OPEN)]


@pytest.mark.parametrize("type_", [opcodes.CREATE2, opcodes.CREATE_CONTAINER, opcodes.CREATE_TTL])
def test_other_creates_give_the_stat(tree: Tree, type_: int) -> None:
    txn = {
        opcodes.CREATE2: CreateTxn("/a", b"", OPEN, False, 1),
        opcodes.CREATE_CONTAINER: CreateContainerTxn("/a", b"", OPEN, 1),
        opcodes.CREATE_TTL: CreateTTLTxn("/a", b"", OPEN, 1, 77),
    }[type_]
    assert tree.do(type_, txn).stat == tree.nodes["/a"].stat(True)
    assert unpack(">q", tree.nodes["/a"].stat(True)[44:52]) == (0,), "no owner that clients see"
    assert list(tree.containers) == (["/a"] if type_ == opcodes.CREATE_CONTAINER else [])
    assert list(tree.ttls) == (["/a"] if type_ == opcodes.CREATE_TTL else [])
    tree.delete("/a")
    assert not tree.containers
    assert not tree.ttls


def test_create_of_an_existing_node_takes_the_acl_and_raises_the_counter(tree: Tree) -> None:
    tree.create("/a", b"first", cversion=1)
    tree.take_changes()
    result = tree.do(opcodes.CREATE, CreateTxn("/a", b"second", READ_ONLY, False, 5))
    assert (result.err, result.path) == (errors.NODEEXISTS, "/a")
    assert tree.nodes["/a"].data == b"first"
    assert tree.nodes["/a"].acl is READ_ONLY
    assert (tree.nodes["/"].cversion, tree.nodes["/"].pzxid) == (5, 2)
    assert tree.take_changes() == []


def test_create_without_a_parent_changes_nothing(tree: Tree) -> None:
    digest = tree.digest
    assert tree.create("/a/b").err == errors.NONODE
    assert tree.digest == digest
    assert tree.last_zxid == 1


def test_create_never_lowers_the_parents_counter_or_pzxid(tree: Tree) -> None:
    tree.create("/a", cversion=9, zxid=50)
    tree.create("/b", cversion=3, zxid=20)
    assert (tree.nodes["/"].cversion, tree.nodes["/"].pzxid, tree.last_zxid) == (9, 50, 50)
    tree.create("/c", cversion=10, zxid=30)
    assert (tree.nodes["/"].cversion, tree.nodes["/"].pzxid) == (10, 50)


def test_create_of_an_old_log_counts_for_itself(tree: Tree) -> None:
    tree.create("/a", cversion=-1)
    tree.create("/b", cversion=-1)
    assert tree.nodes["/"].cversion == 2


def test_ephemerals_belong_to_their_session_in_order(tree: Tree) -> None:
    for path in ("/b", "/a"):
        tree.ephemeral(path)
    tree.ephemeral("/c", 77)
    assert {session: list(paths) for session, paths in tree.sessions.ephemerals.items()} == {
        SESSION: ["/b", "/a"],
        77: ["/c"],
    }
    assert tree.ephemerals_count == 3
    assert tree.stat("/c").ephemeral_owner == 77
    tree.delete("/c")
    assert 77 not in tree.sessions.ephemerals


def test_owner_that_looks_like_a_ttl_is_a_session_without_extended_types() -> None:
    tree = Tree(extended_types=False)
    tree.do(opcodes.CREATE_TTL, CreateTTLTxn("/a", b"", OPEN, 1, 77))
    assert not tree.ttls
    assert list(tree.sessions.ephemerals) == [TTL_MASK | 77]
    assert tree.stat("/a").ephemeral_owner == TTL_MASK | 77


@pytest.mark.parametrize(
    ("owner", "extended", "kind"),
    [
        (0, True, VOID),
        (SESSION, True, NORMAL),
        (-1, True, NORMAL),
        (CONTAINER_OWNER, False, CONTAINER),
        (CONTAINER_OWNER, True, CONTAINER),
        (TTL_MASK | 1, True, TTL),
        (TTL_MASK | (1 << 40) - 1, True, TTL),
        (TTL_MASK | 1 << 40, True, NORMAL),
        (TTL_MASK | 1, False, NORMAL),
    ],
)
def test_kind_of_a_node_is_read_from_its_owner(owner: int, extended: bool, kind: int) -> None:
    assert kind_of(owner, extended) == kind


# --- delete --------------------------------------------------------------------------------------------------------


def test_delete_takes_the_node_and_tells_its_parent(tree: Tree) -> None:
    tree.create("/a", b"data")
    tree.take_changes()
    size = tree.data_size
    result = tree.delete("/a")
    assert (result.err, result.path) == (0, "/a")
    assert "/a" not in tree.nodes
    assert (tree.nodes["/"].cversion, tree.nodes["/"].pzxid) == (1, 2)
    assert tree.stat("/").cversion == 1, "one creation, one deletion, and /zookeeper was never counted"
    assert tree.data_size == size - 6
    assert tree.take_changes() == [(DELETED, "/a", OPEN, "/", OPEN)]


def test_delete_of_a_missing_node_still_raises_the_parents_pzxid(tree: Tree) -> None:
    assert tree.delete("/a", zxid=9).err == errors.NONODE
    assert tree.nodes["/"].pzxid == 9
    assert tree.delete("/a", zxid=4).err == errors.NONODE
    assert tree.nodes["/"].pzxid == 9
    assert tree.delete("/x/y").err == errors.NONODE
    assert tree.take_changes() == []


# --- setData, setACL -----------------------------------------------------------------------------------------------


def test_set_data_takes_the_version_of_the_txn(tree: Tree) -> None:
    tree.create("/a", b"1")
    tree.take_changes()
    result = tree.set_data("/a", b"22", 41)
    assert result.stat == tree.nodes["/a"].stat(True)
    assert tree.stat("/a") == Stat(1, 2, 1000, 2000, 41, 0, 0, 0, 2, 0, 1)
    assert tree.take_changes() == [(DATA_CHANGED, "/a", OPEN, "", OPEN)]
    assert tree.set_data("/missing", b"", 1).err == errors.NONODE


def test_set_acl_changes_the_acl_alone(tree: Tree) -> None:
    tree.create("/a")
    tree.take_changes()
    before = tree.stat("/a")
    result = tree.do(opcodes.SET_ACL, SetACLTxn("/a", READ_ONLY, 3))
    assert result.stat == tree.nodes["/a"].stat(True)
    assert tree.nodes["/a"].acl is READ_ONLY
    before.aversion = 3
    assert tree.stat("/a") == before
    assert tree.take_changes() == []
    assert tree.do(opcodes.SET_ACL, SetACLTxn("/missing", OPEN, 1)).err == errors.NONODE


def test_reconfig_is_set_data_of_the_config_node(tree: Tree) -> None:
    tree.do(opcodes.RECONFIG, SetDataTxn("/zookeeper/config", b"version=1", -1))
    assert (tree.nodes["/zookeeper/config"].data, tree.nodes["/zookeeper/config"].version) == (b"version=1", -1)


def test_kept_reply_goes_with_every_change_of_the_node(tree: Tree) -> None:
    tree.create("/a")
    for change in (
        lambda: tree.set_data("/a", b"x", 1),
        lambda: tree.do(opcodes.SET_ACL, SetACLTxn("/a", READ_ONLY, 1)),
        lambda: tree.create("/a/b"),
        lambda: tree.delete("/a/b"),
    ):
        tree.nodes["/a"].reply = b"kept"
        change()
        assert tree.nodes["/a"].reply is None


# --- sessions ------------------------------------------------------------------------------------------------------


def test_close_session_deletes_what_is_listed_and_what_is_not(tree: Tree) -> None:
    tree.do(opcodes.CREATE_SESSION, CreateSessionTxn(5000))
    assert tree.sessions.timeouts == {SESSION: 5000}
    for path in ("/a", "/b", "/c"):
        tree.ephemeral(path)
    tree.take_changes()
    tree.do(opcodes.CLOSE_SESSION, CloseSessionTxn(["/c", "/a"]))
    assert [change[1] for change in tree.take_changes()] == ["/c", "/a", "/b"]
    assert tree.sessions.timeouts == {}
    assert tree.sessions.ephemerals == {}
    assert tree.nodes["/"].pzxid == tree.last_zxid
    assert tree.nodes["/"].cversion == 1


def test_close_session_without_a_record_deletes_everything_of_it(tree: Tree) -> None:
    tree.ephemeral("/a")
    tree.ephemeral("/other", 77)
    tree.do(opcodes.CLOSE_SESSION, None)
    assert "/a" not in tree.nodes
    assert "/other" in tree.nodes


def test_closing_an_unknown_session_is_no_error(tree: Tree) -> None:
    assert tree.do(opcodes.CLOSE_SESSION, CloseSessionTxn([])).err == 0


def test_ephemerals_of_sessions_that_are_not_in_the_table_are_orphans(tree: Tree) -> None:
    tree.do(opcodes.CREATE_SESSION, CreateSessionTxn(5000))
    tree.ephemeral("/a")
    tree.ephemeral("/b", 77)
    assert tree.sessions.orphans() == [77]
    tree.drop_ephemerals(77)
    assert tree.sessions.orphans() == []
    assert "/b" not in tree.nodes
    tree.check()


# --- multis and errors ---------------------------------------------------------------------------------------------


def test_multi_applies_all_under_one_zxid(tree: Tree) -> None:
    parts = [
        Txn(opcodes.CREATE, CreateTxn("/a", b"", OPEN, False, 1).to_bytes()),
        Txn(opcodes.CREATE2, CreateTxn("/a/b", b"", OPEN, False, 1).to_bytes()),
        Txn(opcodes.CHECK, CheckVersionTxn("/a", 1).to_bytes()),
        Txn(opcodes.SET_DATA, SetDataTxn("/a", b"x", 1).to_bytes()),
        Txn(opcodes.DELETE, DeleteTxn("/a/b").to_bytes()),
    ]
    result = tree.do(opcodes.MULTI, MultiTxn(parts))
    assert [(part.type, part.err) for part in result.results or []] == [(1, 0), (15, 0), (13, 0), (5, 0), (2, 0)]
    assert tree.stat("/a") == Stat(1, 1, 1000, 1000, 1, 2, 0, 0, 1, 0, 1)
    assert [change[:2] for change in tree.take_changes()] == [
        (CREATED, "/a"),
        (CREATED, "/a/b"),
        (DATA_CHANGED, "/a"),
        (DELETED, "/a/b"),
    ]


def test_failed_multi_applies_nothing(tree: Tree) -> None:
    digest = tree.digest
    parts = [
        Txn(opcodes.CREATE, CreateTxn("/a", b"", OPEN, False, 1).to_bytes()),
        Txn(opcodes.ERROR, ErrorTxn(errors.BADVERSION).to_bytes()),
        Txn(opcodes.ERROR, ErrorTxn(errors.RUNTIMEINCONSISTENCY).to_bytes()),
    ]
    result = tree.do(opcodes.MULTI, MultiTxn(parts))
    assert [(part.type, part.err) for part in result.results or []] == [(-1, 0), (-1, -103), (-1, -2)]
    assert tree.digest == digest
    assert tree.last_zxid == 1


def test_error_txn_moves_nothing_but_the_zxid(tree: Tree) -> None:
    digest = tree.digest
    assert tree.do(opcodes.ERROR, ErrorTxn(errors.NONODE)).err == errors.NONODE
    assert (tree.digest, tree.last_zxid) == (digest, 1)


# --- replay --------------------------------------------------------------------------------------------------------


def test_txns_applied_again_give_the_same_tree(tree: Tree) -> None:
    """A fuzzy snapshot already holds the effects of some txns that are replayed over it."""
    history = [
        (opcodes.CREATE, CreateTxn("/a", b"1", OPEN, False, 1)),
        (opcodes.CREATE, CreateTxn("/a/b", b"2", OPEN, False, 1)),
        (opcodes.SET_DATA, SetDataTxn("/a", b"3", 1)),
        (opcodes.SET_ACL, SetACLTxn("/a", READ_ONLY, 1)),
        (opcodes.DELETE, DeleteTxn("/a/b")),
        (opcodes.CREATE, CreateTxn("/a/c", b"", OPEN, True, 2)),
    ]
    for zxid, (type_, txn) in enumerate(history, 1):
        tree.do(type_, txn, zxid)
    once = (tree.digest, {path: node.stat(True) for path, node in tree.nodes.items()})
    for start in range(len(history)):
        for zxid, (type_, txn) in list(enumerate(history, 1))[start:]:
            tree.do(type_, txn, zxid)
        assert (tree.digest, {path: node.stat(True) for path, node in tree.nodes.items()}) == once


# --- digests that are known, and the log of them -------------------------------------------------------------------


def test_digest_that_the_caller_knows_is_taken_over() -> None:
    one, other = Tree(), Tree()
    for number in range(3):
        one.create(f"/{number}", b"x", number + 1)
        header = TxnHeader(SESSION, 1, number + 1, (number + 1) * 1000, opcodes.CREATE)
        other.apply(header, CreateTxn(f"/{number}", b"x", OPEN, False, number + 1), one.digest)
    other.check()
    assert other.digest == one.digest == one.compute_digest()


def test_node_that_the_caller_made_goes_into_the_tree(tree: Tree) -> None:
    twin = Tree()
    twin.create("/a", b"x")
    made = ZNode(b"x", OPEN, 1, 1, 1000, 1000, 0, 0, 0, 0, 1)
    tree.apply(TxnHeader(SESSION, 1, 1, 1000, opcodes.CREATE), CreateTxn("/a", b"x", OPEN, False, 1), twin.digest, made)
    assert tree.nodes["/a"] is made
    tree.check()


def test_digest_log_keeps_every_128th_and_not_for_ever(tree: Tree) -> None:
    for zxid in range(1, 128 * (DIGEST_LOG_LIMIT + 3), 64):
        tree.apply(TxnHeader(0, 0, zxid + 63, 0, opcodes.ERROR), ErrorTxn(-1))
    assert len(tree.digest_log) == DIGEST_LOG_LIMIT
    assert all(zxid % 128 == 0 for zxid, _ in tree.digest_log)


def test_tree_without_digests_has_none() -> None:
    tree = Tree(digest_enabled=False)
    tree.create("/a")
    tree.delete("/a")
    assert tree.digest == tree.compute_digest() == 0


# --- lookups -------------------------------------------------------------------------------------------------------


def test_subtree_size_counts_descendants(tree: Tree) -> None:
    for path in ("/a", "/a/b", "/a/b/c", "/ab"):
        tree.create(path)
    assert [tree.subtree_size(path) for path in ("/a", "/a/b/c", "/ab", "/", "")] == [2, 0, 0, 7, 8]


def test_changes_are_not_kept_when_nobody_asks(tree: Tree) -> None:
    tree.tracks_changes = False
    tree.create("/a")
    tree.set_data("/a", b"", 1)
    tree.delete("/a")
    assert tree.take_changes() == []


def test_check_finds_a_tree_that_is_wrong(tree: Tree) -> None:
    tree.create("/a")
    tree.nodes["/a"].version += 1
    with pytest.raises(AssertionError):
        tree.check()


@pytest.mark.parametrize(
    ("number", "wrapped"),
    [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, -(2**31)), (-(2**31), -(2**31)), (-(2**31) - 1, 2**31 - 1), (2**32, 0)],
)
def test_numbers_wrap_as_javas_do(number: int, wrapped: int) -> None:
    assert wrap_int(number) == wrapped


def test_wire_cversion_wraps(tree: Tree) -> None:
    tree.create("/a", cversion=1)
    tree.nodes["/a"].cversion = 2**31 - 1
    assert tree.stat("/a").cversion == -2


def test_acls_are_shared_between_nodes(tree: Tree) -> None:
    entries = [(31, "digest", "u:h")]
    for name in "ab":
        tree.do(opcodes.CREATE, CreateTxn(f"/{name}", b"", list(from_key(entries)), False, 1))
    assert tree.nodes["/a"].acl is tree.nodes["/b"].acl is from_key(entries)
