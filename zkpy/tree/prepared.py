"""Txns of which whoever prepared them knows more than stands in them: what they lead to.

They have been judged against everything before them, so that nothing can stand in their way when they commit, and
most of the work (the znode, its digest) is done by then. Those that come from elsewhere, from a log or a leader, are
plain records, and `DataTree.apply` finds out.
"""

from typing import Any

from zkpy.proto.records import MultiTxn, Txn
from zkpy.tree.znode import ZNode


class PreparedMulti(MultiTxn):
    """A multi that goes through, with the `records` that its parts hold as bytes."""

    __slots__ = ("records",)

    def __init__(self, txns: list[Txn], records: list[Any]) -> None:
        super().__init__(txns)
        self.records = records


class PreparedSet:
    """A setData that goes through; `digest` is the znode's own after it."""

    __slots__ = ("data", "digest", "mtime", "path", "version", "zxid")

    def __init__(self, path: str, data: bytes, version: int, mtime: int, zxid: int, digest: int) -> None:
        self.path = path
        self.data = data
        self.version = version
        self.mtime = mtime
        self.zxid = zxid
        self.digest = digest


class PreparedCreate:
    """A create that goes through: `node` goes into the tree, as a child of `parent_path`.

    `parent_c_version` and `parent_digest` are the parent's after it.
    """

    __slots__ = ("data", "node", "parent_c_version", "parent_digest", "parent_path", "path")

    def __init__(
        self,
        path: str,
        data: bytes,
        parent_c_version: int,
        parent_path: str,
        node: ZNode,
        parent_digest: int,
    ) -> None:
        self.path = path
        self.data = data
        self.parent_c_version = parent_c_version
        self.parent_path = parent_path
        self.node = node
        self.parent_digest = parent_digest
