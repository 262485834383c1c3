"""Random programs of txns against a naive model: every field, every event, every count, and the digest.

The model is written from the rules, not from the code: a dict of paths, children found by looking at all of them, a
digest summed from scratch, watches as a plain set of (table, path, watcher, mode).
"""

from dataclasses import dataclass, field, replace
from struct import pack
from typing import Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from zkpy.proto import errors, opcodes
from zkpy.proto.events import NODE_CHILDREN_CHANGED, NODE_CREATED, NODE_DATA_CHANGED, NODE_DELETED
from zkpy.proto.records import (
    ACL,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    Id,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Txn,
    TxnHeader,
)
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageWriter, load_image
from zkpy.tree.watches import PERSISTENT, RECURSIVE, STANDARD, Watches

NAMES = ("a", "b", "c")
PATHS = [f"/{x}" for x in NAMES] + [f"/{x}/{y}" for x in NAMES for y in NAMES] + ["/a/a/a", "/a/a/b", "/zookeeper/q"]
SESSIONS = (11, 22)
ACLS = ((31, "world", "anyone"), (1, "world", "anyone"), (31, "digest", "u:h"))
WATCHERS = ("w1", "w2", "w3")


@dataclass
class Node:
    """A znode, as numbers."""

    data: bytes | None
    acl: tuple[int, str, str]
    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    owner: int
    pzxid: int
    version: int = 0
    cversion: int = 0
    aversion: int = 0


def parent_of(path: str) -> str:
    return path[: path.rindex("/")] or "/"


@dataclass
class Model:
    """What a tree is, the slow and obvious way."""

    nodes: dict[str, Node] = field(default_factory=dict)
    timeouts: dict[int, int] = field(default_factory=dict)
    watches: set[tuple[str, str, str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
            self.nodes[path] = Node(b"", ACLS[0], 0, 0, 0, 0, 0, 0)
        self.nodes["/zookeeper/config"].aversion = -1
        self.nodes["/zookeeper/config"].acl = ACLS[1]

    def children(self, path: str) -> list[str]:
        return [other for other in self.nodes if other != "/" and parent_of(other) == path]

    def digest(self) -> int:
        total = 0
        for path, node in self.nodes.items():
            if not path.startswith("/zookeeper/"):
                numbers = pack(
                    ">qqqqqiiiq",
                    node.czxid,
                    node.mzxid,
                    node.pzxid,
                    node.ctime,
                    node.mtime,
                    node.version,
                    node.cversion,
                    node.aversion,
                    node.owner,
                )
                total += crc32((path if path != "/" else "").encode() + (node.data or b"") + numbers)
        return total

    def stat(self, path: str) -> bytes:
        node = self.nodes[path]
        count = len(self.children(path))
        owner = node.owner if node.owner in SESSIONS else 0
        return pack(
            ">qqqqiiiqiiq",
            node.czxid,
            node.mzxid,
            node.ctime,
            node.mtime,
            node.version,
            2 * node.cversion - count,
            node.aversion,
            owner,
            len(node.data or b""),
            count,
            node.pzxid,
        )

    # --- what txns do; each returns (error, events) ---

    def create(
        self, path: str, data: bytes | None, acl: tuple[int, str, str], owner: int, cversion: int, head: TxnHeader
    ) -> int:
        parent = self.nodes.get(parent_of(path))
        if parent is None:
            return errors.NONODE
        if path in self.nodes:
            self.nodes[path].acl = acl
            if head.type == opcodes.CREATE and cversion > parent.cversion:
                parent.cversion = cversion
                parent.pzxid = max(parent.pzxid, head.zxid)
            return errors.NODEEXISTS
        if cversion > parent.cversion:
            parent.cversion = cversion
            parent.pzxid = max(parent.pzxid, head.zxid)
        self.nodes[path] = Node(data, acl, head.zxid, head.zxid, head.time, head.time, owner, head.zxid)
        return 0

    def delete(self, path: str, zxid: int) -> int:
        parent = self.nodes.get(parent_of(path))
        if parent is None:
            return errors.NONODE
        parent.pzxid = max(parent.pzxid, zxid)
        return 0 if self.nodes.pop(path, None) is not None else errors.NONODE

    # --- watches ---

    def fire(self, kind: str, path: str) -> list[tuple[int, str, list[str]]]:
        """The events of one change, with their hearers in order of name."""

        def trigger(table: str, at: str) -> set[str]:
            hearers = {watcher for side, where, watcher, _ in self.watches if (side, where) == (table, at)}
            self.watches -= {watch for watch in self.watches if watch[:2] == (table, at) and watch[3] == STANDARD}
            if table == "data":
                above = {"/"} | {path[:index] for index in range(1, len(path)) if path[index] == "/"}
                hearers |= {
                    watcher
                    for side, where, watcher, mode in self.watches
                    if side == "data" and where in above and mode == RECURSIVE
                }
            return hearers

        fired = []
        heard = trigger("data", path)
        event = {"created": NODE_CREATED, "deleted": NODE_DELETED, "changed": NODE_DATA_CHANGED}[kind]
        fired.append((event, path, heard))
        if kind == "deleted":
            fired.append((event, path, trigger("child", path) - heard))
        if kind != "changed":
            fired.append((NODE_CHILDREN_CHANGED, parent_of(path), trigger("child", parent_of(path))))
        return [(event, where, sorted(hearers)) for event, where, hearers in fired if hearers]


# --- programs ------------------------------------------------------------------------------------------------------

paths = st.sampled_from(PATHS)
data = st.sampled_from((None, b"", b"1", b"four"))
acls = st.sampled_from(ACLS)
kinds = st.sampled_from(("plain", "plain", "plain", "ephemeral", "container", "ttl"))
sessions = st.sampled_from(SESSIONS)
creates = st.tuples(st.just("create"), paths, data, acls, kinds, st.integers(0, 3))
deletes = st.tuples(st.just("delete"), paths)
sets = st.tuples(st.just("set"), st.sampled_from((*PATHS, "/")), data, st.integers(0, 5))
simple = st.one_of(creates, creates, deletes, sets)
steps = st.one_of(
    simple,
    simple,
    simple,
    st.tuples(st.just("acl"), paths, acls, st.integers(0, 5)),
    st.tuples(st.just("open")),
    st.tuples(st.just("close"), st.booleans()),
    st.tuples(st.just("error")),
    st.tuples(st.just("multi"), st.lists(simple, max_size=4)),
    st.tuples(st.just("watch"), st.sampled_from((*PATHS, "/")), st.sampled_from(WATCHERS), st.integers(0, 3)),
    st.tuples(st.just("unwatch"), st.sampled_from((*PATHS, "/")), st.sampled_from(WATCHERS)),
    st.tuples(st.just("drop"), st.sampled_from(WATCHERS)),
)
programs = st.lists(st.tuples(sessions, steps), max_size=40)


class Pair:
    """The tree and the model, told the same things."""

    def __init__(self) -> None:
        self.tree = DataTree(extended_types=True)
        self.watches: Watches[str] = Watches()
        self.model = Model()
        self.zxid = 0
        self.txns: list[tuple[TxnHeader, Any, int]] = []

    def step(self, session: int, step: tuple[Any, ...]) -> None:
        name, *rest = step
        if name in ("watch", "unwatch", "drop"):
            getattr(self, name)(*rest)
            return
        self.zxid += 1
        expected_error, fired = 0, []
        if name == "multi":
            head = self.head(session, opcodes.MULTI)
            parts = []
            for part in rest[0]:
                type_, txn = self.txn(session, part)
                error, events = self.expect(replace_type(head, type_), part, txn)
                expected_error = expected_error or error
                fired += events
                parts.append(Txn(type_, txn.to_bytes()))
            txn = MultiTxn(parts)
        else:
            type_, txn = self.txn(session, step)
            head = self.head(session, type_)
            expected_error, fired = self.expect(head, step, txn)
        result = self.tree.apply(head, txn)
        assert result.err == expected_error
        self.txns.append((head, txn, self.tree.digest))
        heard = []
        for change in self.tree.take_changes():
            heard += [(firing.kind, firing.path, sorted(firing.watchers)) for firing in self.watches.fire(change)]
        assert heard == fired

    def head(self, session: int, type_: int) -> TxnHeader:
        return TxnHeader(session, 0, self.zxid, self.zxid * 7, type_)

    def txn(self, session: int, step: tuple[Any, ...]) -> tuple[int, Any]:
        """The txn of a step."""
        match step:
            case ("create", path, content, acl, kind, raise_by):
                parent = self.model.nodes.get(parent_of(path))
                cversion = (parent.cversion if parent else 0) + raise_by
                entries = [ACL(acl[0], Id(acl[1], acl[2]))]
                if kind == "container":
                    return opcodes.CREATE_CONTAINER, CreateContainerTxn(path, content, entries, cversion)
                if kind == "ttl":
                    return opcodes.CREATE_TTL, CreateTTLTxn(path, content, entries, cversion, 99)
                return opcodes.CREATE, CreateTxn(path, content, entries, kind == "ephemeral", cversion)
            case ("delete", path):
                return opcodes.DELETE, DeleteTxn(path)
            case ("set", path, content, version):
                return opcodes.SET_DATA, SetDataTxn(path, content, version)
            case ("acl", path, acl, version):
                return opcodes.SET_ACL, SetACLTxn(path, [ACL(acl[0], Id(acl[1], acl[2]))], version)
            case ("open",):
                return opcodes.CREATE_SESSION, CreateSessionTxn(1000)
            case ("close", listed):
                own = [path for path, node in self.model.nodes.items() if node.owner == session]
                return opcodes.CLOSE_SESSION, CloseSessionTxn(own if listed else own[:1])
        return opcodes.ERROR, ErrorTxn(errors.BADVERSION)

    def expect(self, head: TxnHeader, step: tuple[Any, ...], txn: Any) -> tuple[int, list[Any]]:
        """Carry the step out on the model: its error and its events."""
        model = self.model
        match step:
            case ("create", path, content, acl, kind, _):
                owner = {"ephemeral": head.client_id, "container": -(1 << 63), "ttl": -(1 << 56) | 99}.get(kind, 0)
                error = model.create(path, content, acl, owner, txn.parent_c_version, head)
                return error, [] if error else model.fire("created", path)
            case ("delete", path):
                return self.expect_delete(path, head.zxid)
            case ("set", path, content, version):
                node = model.nodes.get(path)
                if node is None:
                    return errors.NONODE, []
                node.data, node.version, node.mzxid, node.mtime = content, version, head.zxid, head.time
                return 0, model.fire("changed", path)
            case ("acl", path, acl, version):
                node = model.nodes.get(path)
                if node is None:
                    return errors.NONODE, []
                node.acl, node.aversion = acl, version
                return 0, []
            case ("open",):
                model.timeouts[head.client_id] = 1000
                return 0, []
            case ("close", _):
                model.timeouts.pop(head.client_id, None)
                fired = []
                listed = txn.paths2_delete
                rest = [path for path in self.tree.sessions.ephemerals.get(head.client_id, ()) if path not in listed]
                for path in (*listed, *rest):
                    fired += self.expect_delete(path, head.zxid)[1]
                return 0, fired
        return errors.BADVERSION, []

    def expect_delete(self, path: str, zxid: int) -> tuple[int, list[Any]]:
        error = self.model.delete(path, zxid)
        return error, [] if error else self.model.fire("deleted", path)

    def watch(self, path: str, watcher: str, kind: int) -> None:
        if kind == 0:
            self.watches.watch_data(path, watcher)
            self.model.watches.add(("data", path, watcher, STANDARD))
        elif kind == 1:
            self.watches.watch_children(path, watcher)
            self.model.watches.add(("child", path, watcher, STANDARD))
        else:
            self.watches.watch_persistently(path, watcher, kind == 3)
            if kind == 3:
                self.model.watches.add(("data", path, watcher, RECURSIVE))
            else:
                self.model.watches |= {(table, path, watcher, PERSISTENT) for table in ("data", "child")}

    def unwatch(self, path: str, watcher: str) -> None:
        found = {watch for watch in self.model.watches if watch[1:3] == (path, watcher)}
        assert self.watches.remove(path, watcher, -1, -1) == bool(found)
        self.model.watches -= found

    def drop(self, watcher: str) -> None:
        self.watches.drop(watcher)
        self.model.watches = {watch for watch in self.model.watches if watch[2] != watcher}

    def check(self) -> None:
        """Tree and model say the same, field by field and sum by sum."""
        tree, model = self.tree, self.model
        assert set(tree.nodes) == {"", *model.nodes}
        for path, node in model.nodes.items():
            real = tree.nodes[path]
            assert real.stat(True) == model.stat(path), path
            assert real.data == node.data
            assert real.acl.key == (node.acl,)
            assert real.owner == node.owner
            assert sorted(real.children or ()) == sorted(model.children(path))
        assert tree.digest == model.digest()
        assert tree.sessions.timeouts == model.timeouts
        owned = {path: node.owner for path, node in model.nodes.items() if node.owner in SESSIONS}
        assert {path: owner for owner, each in tree.sessions.ephemerals.items() for path in each} == owned
        assert tree.ephemerals_count == len(owned)
        assert tree.node_count == len(model.nodes) + 1
        assert tree.last_zxid == self.zxid
        assert self.watches.total == len({watch[:3] for watch in model.watches})
        assert self.watches.recursive_count == sum(watch[3] == RECURSIVE for watch in model.watches)
        tree.check()
        self.watches.check()


def replace_type(head: TxnHeader, type_: int) -> TxnHeader:
    return TxnHeader(head.client_id, head.cxid, head.zxid, head.time, type_)


def is_legal(model: Model, step: tuple[Any, ...]) -> bool:
    """A leader never deletes a node with children or puts one under an ephemeral; the tree relies on that."""
    match step:
        case ("delete", path):
            return not model.children(path)
        case ("create", path, _, _, _, _):
            parent = model.nodes.get(parent_of(path))
            return parent is None or parent.owner not in SESSIONS
        case ("multi", parts):
            trial = Model({path: replace(node) for path, node in model.nodes.items()})
            for part in parts:
                if not is_legal(trial, part):
                    return False
                match part:
                    case ("create", path, content, acl, kind, _) if parent_of(path) in trial.nodes:
                        owner = SESSIONS[0] if kind == "ephemeral" else 0
                        trial.nodes.setdefault(path, Node(content, acl, 0, 0, 0, 0, owner, 0))
                    case ("delete", path):
                        trial.nodes.pop(path, None)
    return True


def run(program: list[tuple[int, tuple[Any, ...]]]) -> Pair:
    """The pair after a whole program, compared after each of its steps."""
    pair = Pair()
    for session, step in program:
        if is_legal(pair.model, step):
            pair.step(session, step)
            pair.check()
    return pair


@settings(max_examples=300, deadline=None)
@given(programs)
def test_tree_does_what_the_model_does(program: list[tuple[int, tuple[Any, ...]]]) -> None:
    run(program)


@settings(max_examples=100, deadline=None)
@given(programs)
def test_known_digests_lead_to_the_same_tree(program: list[tuple[int, tuple[Any, ...]]]) -> None:
    first = run(program)
    tree = DataTree(extended_types=True)
    for head, txn, digest in first.txns:
        tree.apply(head, txn, digest)
        tree.check()
    assert tree.digest == first.tree.digest


@settings(max_examples=100, deadline=None)
@given(programs)
def test_digest_does_not_depend_on_how_the_tree_came_to_be(program: list[tuple[int, tuple[Any, ...]]]) -> None:
    pair = run(program)
    writer = ImageWriter(pair.tree)
    image = b""
    while not writer.is_done:
        image += writer.next_slice(100)
    tree = DataTree(extended_types=True)
    load_image(tree, image)
    tree.last_zxid = pair.zxid
    tree.finish_load()
    pair.tree = tree
    pair.check()
