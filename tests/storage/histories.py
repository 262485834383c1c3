"""Random histories for the tests: txns as a leader would make them, applied to a tree as they are made."""

import random
from typing import Any

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
    Id,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Txn,
    TxnHeader,
)
from zkpy.tree.datatree import PROTECTED_PATHS, DataTree
from zkpy.tree.txns import encode_txn

OPEN = [ACL(31, Id("world", "anyone"))]
ACLS = [OPEN, [ACL(1, Id("world", "anyone"))], *([ACL(31, Id("digest", f"user{n}:x="))] for n in range(5))]


class History:
    """A tree, and the entries that made it: (zxid, entry)."""

    def __init__(self, seed: int = 0, *, first_zxid: int = 1, time_ms: int = 1_700_000_000_000) -> None:
        self.random = random.Random(seed)
        self.tree = DataTree(extended_types=True)
        self.zxid = first_zxid - 1
        self.time_ms = time_ms
        self.entries: list[tuple[int, bytes]] = []

    def do(self, type_: int, txn: Any, client_id: int = 0) -> int:
        """Apply and record one txn; its zxid."""
        self.zxid += 1
        self.time_ms += self.random.randrange(3)
        header = TxnHeader(client_id, len(self.entries), self.zxid, self.time_ms, type_)
        self.tree.apply(header, txn)
        self.tree.take_changes()
        digest = None if type_ == opcodes.ERROR else self.tree.digest
        self.entries.append((self.zxid, encode_txn(header, txn, digest)))
        return self.zxid

    def create(self, path: str, data: bytes = b"", acl: list[ACL] = OPEN, session_id: int = 0) -> int:
        return self.do(
            opcodes.CREATE, CreateTxn(path, data, acl, bool(session_id), self._next_cversion(path)), session_id
        )

    def delete(self, path: str) -> int:
        return self.do(opcodes.DELETE, DeleteTxn(path))

    def set_data(self, path: str, data: bytes) -> int:
        return self.do(opcodes.SET_DATA, SetDataTxn(path, data, self.tree.nodes[path].version + 1))

    def set_acl(self, path: str, acl: list[ACL]) -> int:
        return self.do(opcodes.SET_ACL, SetACLTxn(path, acl, self.tree.nodes[path].aversion + 1))

    def open_session(self, session_id: int, timeout_ms: int = 10_000) -> int:
        return self.do(opcodes.CREATE_SESSION, CreateSessionTxn(timeout_ms), session_id)

    def close_session(self, session_id: int) -> int:
        paths = list(self.tree.sessions.ephemerals.get(session_id, ()))
        return self.do(opcodes.CLOSE_SESSION, CloseSessionTxn(paths), session_id)

    def step(self) -> int:
        """One random txn."""
        choose = self.random
        tree = self.tree
        paths = [path for path in tree.nodes if path not in PROTECTED_PATHS and path]
        leaves = [path for path in paths if not tree.nodes[path].children]
        kind = choose.choices(
            ("create", "delete", "data", "acl", "open", "close", "error", "multi", "failed", "quota"),
            (30, 14, 14, 8, 4, 4, 3, 5, 2, 1),
        )[0]
        sessions = list(tree.sessions.timeouts)
        if kind == "delete" and leaves:
            return self.delete(choose.choice(leaves))
        if kind == "data" and paths:
            return self.set_data(choose.choice(paths), choose.randbytes(choose.randrange(60)))
        if kind == "acl" and paths:
            return self.set_acl(choose.choice(paths), choose.choice(ACLS))
        if kind == "open":
            return self.open_session(choose.getrandbits(62), choose.randrange(4000, 40000))
        if kind == "close" and sessions:
            return self.close_session(choose.choice(sessions))
        if kind == "error":
            return self.do(opcodes.ERROR, ErrorTxn(errors.NONODE))
        if kind == "multi" and leaves:
            path = choose.choice(leaves)
            made = f"{path}-multi{self.zxid}"
            parts = (
                (opcodes.CHECK, CheckVersionTxn(path, tree.nodes[path].version + 1)),
                (opcodes.CREATE, CreateTxn(made, b"m", choose.choice(ACLS), False, self._next_cversion(made))),
                (opcodes.DELETE, DeleteTxn(path)),
            )
            return self.do(opcodes.MULTI, MultiTxn([Txn(type_, part.to_bytes()) for type_, part in parts]))
        if kind == "failed":
            failed = (ErrorTxn(errors.NONODE), ErrorTxn(errors.RUNTIMEINCONSISTENCY))
            return self.do(opcodes.MULTI, MultiTxn([Txn(opcodes.ERROR, part.to_bytes()) for part in failed]))
        return self._random_create([path for path in paths if not tree.nodes[path].owner], sessions)

    def _random_create(self, parents: list[str], sessions: list[int]) -> int:
        choose = self.random
        # Few names, so that what was deleted is made again.
        path = f"{choose.choice(['', '', *parents])}/{choose.choice('abcdefgh')}"
        if path in self.tree.nodes:
            return self.set_data(path, b"again")
        data = choose.choice([None, b"", choose.randbytes(choose.randrange(200))])
        acl = choose.choice(ACLS)
        cversion = self._next_cversion(path)
        kind = choose.randrange(6)
        if kind == 0 and sessions:
            return self.do(opcodes.CREATE, CreateTxn(path, data, acl, True, cversion), choose.choice(sessions))
        if kind == 1:
            return self.do(opcodes.CREATE_CONTAINER, CreateContainerTxn(path, data, acl, cversion))
        if kind == 2:
            return self.do(opcodes.CREATE_TTL, CreateTTLTxn(path, data, acl, cversion, 5000))
        type_ = opcodes.CREATE if kind == 3 else opcodes.CREATE2
        return self.do(type_, CreateTxn(path, data, acl, False, cversion))

    def _next_cversion(self, path: str) -> int:
        return self.tree.nodes[path[: path.rindex("/")]].cversion + 1


def dump(tree: DataTree) -> dict[str, Any]:
    """Everything there is to a tree, to be compared."""
    nodes = {
        path: (
            node.data,
            node.acl.key,
            (node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime, node.version, node.cversion, node.aversion),
            node.owner,
            sorted(node.children or ()),
        )
        for path, node in tree.nodes.items()
    }
    return {
        "nodes": nodes,
        "sessions": tree.sessions.timeouts,
        "ephemerals": {owner: sorted(paths) for owner, paths in tree.sessions.ephemerals.items()},
        "containers": sorted(tree.containers),
        "ttls": sorted(tree.ttls),
        "zxid": tree.last_zxid,
        "digest": tree.digest,
        "size": tree.data_size,
    }
