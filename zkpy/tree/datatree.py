"""The tree: lookups, and `apply`, the only code that changes it.

Txns arrive in zxid order, once each when they commit; after a restart those that a fuzzy snapshot already contains
arrive once more, so each rule below gives the same tree when it is applied again. A rule that finds nothing to do
reports an error code and changes nothing (Apache: DataTree.processTxn).

The root stands under "/" and under "", so that `path[:path.rindex("/")]` always names a parent.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    ACL,
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
    Txn,
    TxnHeader,
)
from zkpy.tree import quota
from zkpy.tree.acl import OPEN, READ_ONLY, Acl, intern
from zkpy.tree.digest import EXCLUDED, MASK, node_digest
from zkpy.tree.prepared import PreparedCreate, PreparedMulti, PreparedSet
from zkpy.tree.sessions import SessionTable
from zkpy.tree.znode import CONTAINER, CONTAINER_OWNER, TTL, TTL_MASK, VOID, ZNode, kind_of

SYSTEM_PATHS: Final = ("/zookeeper", "/zookeeper/config", "/zookeeper/quota")
#: Paths that nobody may delete (DataTree.isSpecialPath).
PROTECTED_PATHS: Final = frozenset(("/", *SYSTEM_PATHS))

#: How many digests of past zxids are kept, and at which zxids (DataTree.DIGEST_LOG_*).
DIGEST_LOG_LIMIT: Final = 1024
DIGEST_LOG_INTERVAL: Final = 128

CREATED: Final = 1
DELETED: Final = 2
DATA_CHANGED: Final = 3

#: What watches look at: (CREATED | DELETED | DATA_CHANGED, path, its ACL, parent path, parent's ACL).
Change = tuple[int, str, Acl, str, Acl]


class Result:
    """What applying one txn gave: `err` 0 or a code; `path` and `stat` (68 bytes, just after) where there are any;
    `results` for a multi, one per operation."""

    __slots__ = ("err", "path", "results", "stat", "type")

    def __init__(self, type_: int, err: int, path: str | None = None, stat: bytes | None = None) -> None:
        self.type = type_
        self.err = err
        self.path = path
        self.stat = stat
        self.results: list[Result] | None = None


class DataTree:
    """The replicated state of the service: znodes, sessions, and the zxid up to which both are applied."""

    def __init__(self, *, extended_types: bool = False, digest_enabled: bool = True) -> None:
        """An empty tree: the four system nodes. `extended_types` enables TTL nodes."""
        self.extended_types = extended_types
        self.digest_enabled = digest_enabled
        self.sessions = SessionTable()
        self.nodes: dict[str, ZNode] = {}
        self.containers: dict[str, None] = {}
        self.ttls: dict[str, None] = {}
        self.quotas = quota.QuotaPaths()
        # While an image is loaded: [nodes, bytes] beneath each path with a quota that has come ahead of its path.
        self._tallies: dict[str, list[int]] = {}
        self.last_zxid = 0
        # Sum of the node digests, mod 2^64 (see zkpy.tree.digest).
        self.digest = 0
        #: It was loaded from an image that was written while its tree went on, and is a mixture of moments until the
        #: txns of that time have been applied: its digest is of no moment, and neither recorded nor to be compared.
        self.is_fuzzy = False
        # While a txn is applied whose digest is known: node digests are left unknown instead of being worked out.
        self._digest_known = False
        # While a create is applied whose node the caller has made: that node.
        self._made: ZNode | None = None
        #: (zxid, digest) at every DIGEST_LOG_INTERVAL-th zxid, oldest first.
        self.digest_log: deque[tuple[int, int]] = deque(maxlen=DIGEST_LOG_LIMIT)
        #: Lengths of all paths and data, in bytes: the gauge approximate_data_size.
        self.data_size = 0
        #: Whether `apply` notes what it changes: whoever knows that nobody watches saves it the trouble.
        self.tracks_changes = True
        #: What the last `apply` changed, for the watches; taken by `take_changes`.
        self.changes: list[Change] = []
        #: For each image that is being written: path → the ACL the node had when that began (see zkpy.tree.image).
        self.old_acls: list[dict[str, Acl]] = []
        self._add_system_nodes()

    # --- lookups -----------------------------------------------------------------------------------------------

    @property
    def node_count(self) -> int:
        """Znodes as Apache counts them: the root twice."""
        return len(self.nodes)

    @property
    def ephemerals_count(self) -> int:
        """How many ephemeral znodes there are."""
        return sum(map(len, self.sessions.ephemerals.values()))

    def subtree_size(self, path: str) -> int:
        """How many descendants `path` has; all of them but the root for "/" (getAllChildrenNumber)."""
        if path == "/":
            return len(self.nodes) - 2
        if path == "":  # Apache counts the name "/" of the root here
            return len(self.nodes) - 1
        return self._measure(path)[0] - 1

    def take_changes(self) -> list[Change]:
        """The changes since the last call, in order."""
        changes = self.changes
        if changes:
            self.changes = []
        return changes

    # --- the one way in ----------------------------------------------------------------------------------------

    def apply(self, header: TxnHeader, txn: Any, digest: int = -1, made: ZNode | None = None) -> Result:
        """Apply one txn; `txn` is the record that belongs to `header.type`, None for a bodiless closeSession.

        `digest` is the tree digest after this txn where the caller has worked it out already (whoever prepared the txn
        has): then it is taken over, at half the cost of an apply; else it is worked out here. `made` is the node that a
        create leads to, with its digest, where the caller has that too; the tree owns it from now on.
        Never raises for what a txn asks of a tree that lacks it: that is a `Result` with an error code.
        """
        if digest >= 0 and self.digest_enabled:
            self._digest_known = True
            self._made = made
            result = _APPLY[header.type](self, header, txn)
            self._made = None
            self._digest_known = False
            self.digest = digest
        else:
            result = _APPLY[header.type](self, header, txn)
        zxid = header.zxid
        if zxid > self.last_zxid:
            self.last_zxid = zxid
        if not zxid % DIGEST_LOG_INTERVAL and not self.is_fuzzy:
            self.digest_log.append((zxid, self.digest))
        return result

    def put(self, txn: PreparedSet, digest: int) -> ZNode:
        """`apply` for a setData that cannot fail; the znode, as it is now. Not for what lies under /zookeeper."""
        path = txn.path
        node = self.nodes[path]
        data = txn.data
        added = len(data) - (len(node.data) if node.data else 0)
        node.data = data
        node.mtime = txn.mtime
        node.mzxid = zxid = txn.zxid
        node.version = txn.version
        node.digest = txn.digest
        node.reply = None
        self.data_size += added
        self.digest = digest
        self.last_zxid = zxid
        if not zxid % DIGEST_LOG_INTERVAL:
            self.digest_log.append((zxid, digest))
        if self.quotas.paths:
            self._charge(path, added, 0)
        if self.tracks_changes:
            self.changes.append((DATA_CHANGED, path, node.acl, "", node.acl))
        return node

    def add(self, txn: PreparedCreate, digest: int) -> ZNode:
        """`apply` for a create that cannot fail; the znode. Not for what lies under /zookeeper."""
        path = txn.path
        node = txn.node
        parent = self.nodes[txn.parent_path]
        parent.cversion = txn.parent_c_version
        parent.pzxid = zxid = node.czxid
        parent.digest = txn.parent_digest
        parent.reply = None
        if parent.children is None:
            parent.children = {path: None}
        else:
            parent.children[path] = None
        self.nodes[path] = node
        size = len(txn.data)
        self.data_size += len(path) + size
        self.digest = digest
        self.last_zxid = zxid
        if not zxid % DIGEST_LOG_INTERVAL:
            self.digest_log.append((zxid, digest))
        if node.owner:
            self._enlist(path, node.owner)
        if self.quotas.paths:
            self._charge(path, size, 1)
        if self.tracks_changes:
            self.changes.append((CREATED, path, node.acl, txn.parent_path or "/", parent.acl))
        return node

    def drop_ephemerals(self, session_id: int) -> None:
        """Delete the ephemerals of a session that is not in the table, without a txn (after recovery only)."""
        for path in list(self.sessions.ephemerals.get(session_id, ())):
            self._delete(path, self.last_zxid)
        self.changes.clear()

    def set_configuration(self, text: bytes, version: int, time_ms: int) -> None:
        """What /zookeeper/config says: each member puts its own configuration there, without a txn.

        No digest covers it, and its stat is that of a write by `version` (ZKDatabase.initConfigInZKDatabase).
        """
        node = self.nodes["/zookeeper/config"]
        self.data_size += len(text) - len(node.data or b"")
        node.data = text
        node.version = -1
        node.mzxid = version
        node.mtime = time_ms

    # --- loading a snapshot ------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget everything, system nodes too: what a snapshot is loaded onto."""
        self.sessions = SessionTable()
        self.nodes.clear()
        self.containers.clear()
        self.ttls.clear()
        self.quotas = quota.QuotaPaths()
        self._tallies.clear()
        self.digest_log.clear()
        self.changes = []
        self.last_zxid = self.digest = self.data_size = 0
        self.is_fuzzy = False

    def load(self, path: str, node: ZNode) -> bool:
        """Add one node of a snapshot; False if its parent has not come before it."""
        nodes = self.nodes
        if path == "":
            nodes[""] = nodes["/"] = node
            self._count_loaded("", node)
            self.data_size += 1  # it stands here twice, and has the path of one of them
            return True
        at = path.rindex("/")
        parent = nodes.get(path[:at])
        if parent is None:
            return False
        if parent.children is None:
            parent.children = {}
        parent.children[path] = None
        nodes[path] = node
        self._count_loaded(path, node)
        if node.owner:
            self._enlist(path, node.owner)
        return True

    def load_many(self, loaded: list[tuple[str, ZNode]], digest: int) -> None:
        """`load` for many nodes, of which the digests are known: `digest` is their sum.

        Raises ValueError for a path that comes twice or before its parent.
        """
        nodes = self.nodes
        tallies = self._tallies
        size = 0
        # Most stand beside the one before.
        directory = None
        children: dict[str, None] = {}
        limited: str | None = None
        for path, node in loaded:
            at = path.rfind("/")
            if path in nodes:
                raise ValueError(f"{path!r} comes twice")
            length = len(node.data) if node.data else 0
            if at < 0:
                nodes[""] = nodes["/"] = node
                # It will be there. In images of this tree quotas then come ahead of all that they limit.
                node.children = {SYSTEM_PATHS[0]: None}
                size += 1 + length
                continue
            if path[:at] != directory:
                directory = path[:at]
                parent = nodes.get(directory)
                if parent is None:
                    raise ValueError(f"{path!r} comes before its parent")
                if parent.children is None:
                    parent.children = {}
                children = parent.children
                limited = quota.quota_of(directory)
            children[path] = None
            nodes[path] = node
            size += len(path) + length
            if node.owner:
                self._enlist(path, node.owner)
            if tallies:
                self._tally(path, length)
            if limited is not None and limited not in nodes and path[at + 1 :] == quota.LIMITS:
                tallies[limited] = [0, 0]
        self.data_size += size
        if self.digest_enabled:
            self.digest = self.digest + digest & MASK

    def _tally(self, path: str, size: int) -> None:
        """Count a node that is loaded, of `size` bytes, against every quota above it."""
        while path:
            tally = self._tallies.get(path)
            if tally is not None:
                tally[0] += 1
                tally[1] += size
            path = path[: path.rindex("/")]

    def _count_loaded(self, path: str, node: ZNode) -> None:
        """Digest and size are kept node by node: for all at the end a member would stand still for seconds."""
        self.data_size += _size(path, node.data)
        if self.digest_enabled:
            self.digest = self.digest + node_digest(path, node) & MASK

    def finish_load(self) -> None:
        """After the last `load`: system nodes that were missing, and quotas.

        What they limit was counted while it was loaded; it is walked where it came ahead of its quota, as it may in
        images of Apache's servers.
        """
        self._add_system_nodes()
        self._restore_quotas()
        self._tallies.clear()

    def compute_digest(self) -> int:
        """The tree digest from scratch, walking every node; `digest` must always equal it."""
        if not self.digest_enabled:
            return 0
        return (
            sum(node_digest(path, node) for path, node in self.nodes.items() if path != "/" and path[:11] != EXCLUDED)
            & MASK
        )

    def check(self) -> None:
        """Assert every invariant of the tree; for tests."""
        nodes = self.nodes
        assert nodes[""] is nodes["/"]
        owned = {path for paths in self.sessions.ephemerals.values() for path in paths}
        for path, node in nodes.items():
            for child in node.children or ():
                assert child in nodes, (path, child)
                assert child[: child.rindex("/")] == path.rstrip("/"), (path, child)
            if path not in ("", "/"):
                at = path.rindex("/")
                children = nodes[path[:at]].children
                assert children is not None, path
                assert path in children, path
            kind = kind_of(node.owner, self.extended_types)
            assert (path in owned) == (kind not in (VOID, CONTAINER, TTL)), path
            assert (path in self.containers) == (kind == CONTAINER), path
            assert (path in self.ttls) == (kind == TTL), path
            assert node.digest in (-1, node_digest(path, node)), path
        assert self.digest == self.compute_digest()
        assert self.data_size == self._compute_size()

    # --- the rules, one per txn type ---------------------------------------------------------------------------

    def _apply_create(self, header: TxnHeader, txn: CreateTxn) -> Result:
        owner = header.client_id if txn.ephemeral else 0
        return self._create(header, txn.path, txn.data, txn.acl, owner, txn.parent_c_version)

    def _apply_create_container(self, header: TxnHeader, txn: CreateContainerTxn) -> Result:
        return self._create(header, txn.path, txn.data, txn.acl, CONTAINER_OWNER, txn.parent_c_version)

    def _apply_create_ttl(self, header: TxnHeader, txn: CreateTTLTxn) -> Result:
        return self._create(header, txn.path, txn.data, txn.acl, TTL_MASK | txn.ttl, txn.parent_c_version)

    def _create(
        self,
        header: TxnHeader,
        path: str | None,
        data: bytes | None,
        entries: list[ACL] | None,
        owner: int,
        parent_cversion: int,
    ) -> Result:
        assert path is not None
        nodes = self.nodes
        zxid = header.zxid
        at = path.rindex("/")
        parent_path = path[:at]
        parent = nodes.get(parent_path)
        if parent is None:
            return Result(header.type, errors.NONODE, path)
        acl = intern(entries or ())
        existing = nodes.get(path)
        if existing is not None:
            for old_acls in self.old_acls:
                old_acls.setdefault(path, existing.acl)
            existing.acl = acl
            if header.type == opcodes.CREATE:
                self._raise_cversion(parent_path, parent, parent_cversion, zxid)
            return Result(header.type, errors.NODEEXISTS, path)
        if parent_cversion == -1:  # a log of 3.3 or earlier
            parent_cversion = parent.cversion + 1
        name = path[at + 1 :]
        self._raise_cversion(parent_path, parent, parent_cversion, zxid)
        if parent.children is None:
            parent.children = {path: None}
        else:
            parent.children[path] = None
        node = self._made
        if node is None:
            node = ZNode(data, acl, zxid, zxid, header.time, header.time, 0, 0, 0, owner, zxid)
        nodes[path] = node
        size = len(data) if data else 0
        self.data_size += len(path) + size
        if self.digest_enabled and not self._digest_known and path[:11] != EXCLUDED:
            node.digest = node_digest(path, node)
            self.digest = self.digest + node.digest & MASK
        if owner:
            self._enlist(path, owner)
        # As the node is before the quota bookkeeping touches it: a stats node's own reply shows what was written.
        stat = None if header.type == opcodes.CREATE else node.stat(self.extended_types)
        if name in quota.NAMES:
            self._note_quota(parent_path, name)
        if self.quotas.paths:
            self._charge(path, size, 1)
        if self.tracks_changes:
            self.changes.append((CREATED, path, acl, parent_path or "/", parent.acl))
        return Result(header.type, 0, path, stat)

    def _apply_delete(self, header: TxnHeader, txn: DeleteTxn) -> Result:
        assert txn.path is not None
        return Result(header.type, self._delete(txn.path, header.zxid), txn.path)

    def _delete(self, path: str, zxid: int) -> int:
        nodes = self.nodes
        at = path.rindex("/")
        parent_path = path[:at]
        name = path[at + 1 :]
        parent = nodes.get(parent_path)
        if parent is None:
            return errors.NONODE
        if parent.children:
            parent.children.pop(path, None)
        # The child may be gone already where a fuzzy snapshot is replayed; the parent still learns of the deletion.
        if zxid > parent.pzxid:
            before = self._before(parent_path, parent)
            parent.pzxid = zxid
            self._after(parent_path, parent, before)
        node = nodes.pop(path, None)
        if node is None:
            return errors.NONODE
        self.data_size -= _size(path, node.data)
        self.digest = self.digest - self._before(path, node) & MASK
        if node.owner:
            self._delist(path, node.owner)
        if name == quota.LIMITS:
            limited = quota.quota_of(parent_path)
            if limited is not None:
                self.quotas.paths.pop(limited, None)
        if self.quotas.paths:
            self._charge(path, -len(node.data) if node.data else 0, -1)
        if self.tracks_changes:
            self.changes.append((DELETED, path, node.acl, parent_path or "/", parent.acl))
        return 0

    def _apply_set_data(self, header: TxnHeader, txn: SetDataTxn) -> Result:
        path = txn.path
        assert path is not None
        node = self.nodes.get(path)
        if node is None:
            return Result(header.type, errors.NONODE, path)
        old = len(node.data) if node.data else 0
        data = txn.data
        before = 0 if self._digest_known else self._before(path, node)
        node.data = data
        node.mtime = header.time
        node.mzxid = header.zxid
        node.version = txn.version
        if self._digest_known:
            node.reply = None
            node.digest = -1
        else:
            self._after(path, node, before)
        added = (len(data) if data else 0) - old
        self.data_size += added
        stat = node.stat(self.extended_types)
        if self.quotas.paths:
            self._charge(path, added, 0)
        if self.tracks_changes:
            self.changes.append((DATA_CHANGED, path, node.acl, "", node.acl))
        return Result(header.type, 0, path, stat)

    def _apply_set_acl(self, header: TxnHeader, txn: SetACLTxn) -> Result:
        path = txn.path
        assert path is not None
        node = self.nodes.get(path)
        if node is None:
            return Result(header.type, errors.NONODE, path)
        before = self._before(path, node)
        for old_acls in self.old_acls:
            old_acls.setdefault(path, node.acl)
        node.aversion = txn.version
        node.acl = intern(txn.acl or ())
        self._after(path, node, before)
        return Result(header.type, 0, path, node.stat(self.extended_types))

    def _apply_create_session(self, header: TxnHeader, txn: CreateSessionTxn) -> Result:
        self.sessions.timeouts[header.client_id] = txn.time_out
        return Result(header.type, 0)

    def _apply_close_session(self, header: TxnHeader, txn: CloseSessionTxn | None) -> Result:
        session_id = header.client_id
        self.sessions.timeouts.pop(session_id, None)
        listed: Iterable[str | None] = (txn.paths2_delete if txn is not None else None) or ()
        for path in listed:
            assert path is not None
            self._delete(path, header.zxid)
        # Whatever the txn did not list (logs of 3.5 and earlier list nothing).
        for path in list(self.sessions.ephemerals.get(session_id, ())):
            self._delete(path, header.zxid)
        return Result(header.type, 0)

    def _apply_error(self, header: TxnHeader, txn: ErrorTxn) -> Result:
        return Result(header.type, txn.err)

    def _apply_check(self, header: TxnHeader, txn: CheckVersionTxn) -> Result:
        return Result(header.type, 0, txn.path)

    def _apply_multi(self, header: TxnHeader, txn: MultiTxn) -> Result:
        """All operations in order with the header's zxid and time, or none of them if one is an error."""
        txns = txn.txns or []
        if any(sub.type == opcodes.ERROR for sub in txns):
            return _failed_multi(header, txns)
        result = Result(header.type, 0)
        result.results = []
        records = iter(txn.records) if type(txn) is PreparedMulti else map(_decode_sub, txns)
        for sub, record in zip(txns, records, strict=True):
            sub_header = TxnHeader(header.client_id, header.cxid, header.zxid, header.time, sub.type)
            done = _APPLY[sub.type](self, sub_header, record)
            result.results.append(done)
            if done.err and not result.err:
                result.err = done.err
        return result

    # --- bookkeeping -------------------------------------------------------------------------------------------

    def _before(self, path: str, node: ZNode) -> int:
        """The node's digest before a change; to be handed to `_after`."""
        if self._digest_known or not self.digest_enabled:
            return 0
        return node.digest if node.digest >= 0 else node_digest(path, node)

    def _after(self, path: str, node: ZNode, before: int) -> None:
        """A change of `node` is done: forget its encoded reply and bring the tree digest up to date."""
        node.reply = None
        if self._digest_known:
            node.digest = -1
        elif self.digest_enabled:
            node.digest = node_digest(path, node)
            self.digest = self.digest - before + node.digest & MASK

    def _raise_cversion(self, path: str, node: ZNode, cversion: int, zxid: int) -> None:
        """Raise a parent's stored cversion, and with it pzxid, but never lower it: replay may come late."""
        if cversion > node.cversion:
            before = self._before(path, node)
            node.cversion = cversion
            # A create replayed after the node's children changed again must not turn pzxid back.
            if zxid > node.pzxid:
                node.pzxid = zxid
            self._after(path, node, before)

    def _note_quota(self, parent_path: str, name: str) -> None:
        """A node of a name that quotas use was created: if it stands where they do, follow it."""
        limited = quota.quota_of(parent_path)
        if limited is not None:
            if name == quota.LIMITS:
                self.quotas.paths[limited] = None
            else:
                self._recount(limited)

    def _enlist(self, path: str, owner: int) -> None:
        kind = kind_of(owner, self.extended_types)
        if kind == CONTAINER:
            self.containers[path] = None
        elif kind == TTL:
            self.ttls[path] = None
        else:
            self.sessions.own(owner, path)

    def _delist(self, path: str, owner: int) -> None:
        kind = kind_of(owner, self.extended_types)
        if kind == CONTAINER:
            self.containers.pop(path, None)
        elif kind == TTL:
            self.ttls.pop(path, None)
        else:
            self.sessions.disown(owner, path)

    def _charge(self, path: str, bytes_added: int, nodes_added: int) -> None:
        """Count a change against the deepest quota above it."""
        prefix = self.quotas.longest_prefix(path)
        if prefix is None:
            return
        node = self.nodes.get(quota.stats_path(prefix))
        if node is None:
            return
        try:
            usage = quota.Usage(node.data)
        except ValueError:
            # A client wrote something else there; the next load counts afresh.
            return
        usage.values["count"] = usage.get("count") + nodes_added
        usage.values["bytes"] = usage.get("bytes") + bytes_added
        self._set_usage(node, usage)

    def _recount(self, path: str) -> None:
        """Write the present usage of `path` into its stats node, if it has one."""
        node = self.nodes.get(quota.stats_path(path))
        if node is None:
            return
        usage = quota.Usage(b"")
        usage.values["count"], usage.values["bytes"] = self._tallies.get(path) or self._measure(path)
        self._set_usage(node, usage)

    def _set_usage(self, node: ZNode, usage: quota.Usage) -> None:
        data = usage.to_bytes()
        self.data_size += len(data) - (len(node.data) if node.data else 0)
        node.data = data
        node.reply = None

    def _measure(self, path: str) -> tuple[int, int]:
        """Nodes and bytes of data in the subtree of `path`, itself included; (0, 0) if it is not there."""
        node = self.nodes.get(path)
        if node is None:
            return 0, 0
        count = size = 0
        nodes = self.nodes
        todo = [node]
        while todo:
            node = todo.pop()
            count += 1
            size += len(node.data) if node.data else 0
            if node.children:
                todo += [nodes[child] for child in node.children]
        return count, size

    def _compute_size(self) -> int:
        """`data_size` from scratch: the root has one byte of path and its data once, though it stands here twice."""
        return sum(_size(path, node.data) for path, node in self.nodes.items() if path)

    def _add_system_nodes(self) -> None:
        nodes = self.nodes
        if "" not in nodes:
            self.load("", ZNode(b"", OPEN, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        for path in SYSTEM_PATHS:
            if path not in nodes:
                is_config = path == "/zookeeper/config"
                node = ZNode(b"", READ_ONLY if is_config else OPEN, 0, 0, 0, 0, 0, 0, -1 if is_config else 0, 0, 0)
                self.load(path, node)

    def _restore_quotas(self) -> None:
        """Find every limits node again, and recount what it limits."""
        todo = [quota.ROOT]
        while todo:
            at = todo.pop()
            node = self.nodes.get(at)
            limited = quota.quota_of(at)
            for path in (node.children if node is not None else None) or ():
                if limited is not None and path == quota.limits_path(limited):
                    self.quotas.paths[limited] = None
                    self._recount(limited)
                else:
                    todo.append(path)


def _decode_sub(sub: Txn) -> Any:
    return TXN_RECORDS[sub.type].decode(sub.data or b"", 0)[0]


def _failed_multi(header: TxnHeader, txns: list[Txn]) -> Result:
    """What a multi gives of which an operation failed: the others' codes say on which side of it they stand."""
    result = Result(header.type, 0)
    result.results = []
    # Thousands of operations share one code, and then one Result.
    passed, not_reached = Result(opcodes.ERROR, errors.OK), Result(opcodes.ERROR, errors.RUNTIMEINCONSISTENCY)
    refused: dict[bytes | None, Result] = {}
    for sub in txns:
        if sub.type == opcodes.ERROR:
            done = refused.get(sub.data)
            if done is None:
                done = refused[sub.data] = Result(opcodes.ERROR, _decode_sub(sub).err)
        else:
            done = not_reached if refused else passed
        result.results.append(done)
        if done.err and not result.err:
            result.err = done.err
    return result


def _size(path: str, data: bytes | None) -> int:
    return len(path) + (len(data) if data else 0)


#: The record in the body of each type of txn (SerializeUtils.deserializeTxn).
TXN_RECORDS: Final[dict[int, Any]] = {
    opcodes.CREATE: CreateTxn,
    opcodes.CREATE2: CreateTxn,
    opcodes.CREATE_CONTAINER: CreateContainerTxn,
    opcodes.CREATE_TTL: CreateTTLTxn,
    opcodes.DELETE: DeleteTxn,
    opcodes.DELETE_CONTAINER: DeleteTxn,
    opcodes.SET_DATA: SetDataTxn,
    opcodes.RECONFIG: SetDataTxn,
    opcodes.SET_ACL: SetACLTxn,
    opcodes.CREATE_SESSION: CreateSessionTxn,
    opcodes.CLOSE_SESSION: CloseSessionTxn,
    opcodes.ERROR: ErrorTxn,
    opcodes.CHECK: CheckVersionTxn,
    opcodes.MULTI: MultiTxn,
}

_APPLY: Final[dict[int, Callable[[DataTree, TxnHeader, Any], Result]]] = {
    opcodes.CREATE: DataTree._apply_create,
    opcodes.CREATE2: DataTree._apply_create,
    opcodes.CREATE_CONTAINER: DataTree._apply_create_container,
    opcodes.CREATE_TTL: DataTree._apply_create_ttl,
    opcodes.DELETE: DataTree._apply_delete,
    opcodes.DELETE_CONTAINER: DataTree._apply_delete,
    opcodes.SET_DATA: DataTree._apply_set_data,
    opcodes.RECONFIG: DataTree._apply_set_data,
    opcodes.SET_ACL: DataTree._apply_set_acl,
    opcodes.CREATE_SESSION: DataTree._apply_create_session,
    opcodes.CLOSE_SESSION: DataTree._apply_close_session,
    opcodes.ERROR: DataTree._apply_error,
    opcodes.CHECK: DataTree._apply_check,
    opcodes.MULTI: DataTree._apply_multi,
}
