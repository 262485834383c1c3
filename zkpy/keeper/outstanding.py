"""The tree as it will be once everything proposed has committed.

A write is judged when it arrives, against the changes before it that are decided but not applied yet. A `Shadow` is
one znode in that future; it exists from the first proposed change of the path until the last one is applied. A znode
that is only proposed to be created stands there itself, and goes into the tree when its txn is applied; and where a
setData is all that is proposed, its txn stands there until somebody asks for more. The digest runs ahead in the same
way, because each txn carries the digest of the tree *after* it.
Source: PrepRequestProcessor (ChangeRecord, outstandingChanges), ClickHouse Keeper's deltas.
"""

from collections import deque
from struct import Struct
from typing import Final
from zlib import crc32

from zkpy.keeper.requests import UsualSet
from zkpy.tree.acl import Acl
from zkpy.tree.datatree import DataTree
from zkpy.tree.digest import EXCLUDED, MASK, node_digest
from zkpy.tree.znode import ZNode

#: The root's path here. It has two in the tree; with a shadow under each, one would not know of the other's changes.
ROOT: Final = ""

#: czxid, mzxid; ctime, mtime, version; aversion, owner: of the numbers in a digest those that a new child leaves alone.
_HEAD: Final = Struct(">qq")
_MIDDLE: Final = Struct(">qqi")
_END: Final = Struct(">iq")


#: Of how many znodes that get children the shadows are kept for the next turn, before all are forgotten.
PARENTS_LIMIT: Final = 1024


class Shadow:
    """A znode as it will be; `exists` is False once a proposed txn deletes it. `zxid`: of the last change proposed."""

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "end",
        "exists",
        "head",
        "middle",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "version",
        "zxid",
    )

    def __init__(self, zxid: int, node: ZNode, children: int, digest: int) -> None:
        self.zxid = zxid
        self.exists = True
        self.data = node.data
        self.acl: Acl = node.acl
        self.czxid = node.czxid
        self.mzxid = node.mzxid
        self.ctime = node.ctime
        self.mtime = node.mtime
        self.version = node.version
        self.cversion = node.cversion
        self.aversion = node.aversion
        self.owner = node.owner
        self.pzxid = node.pzxid
        self.children = children
        self.digest = digest
        # Of its digest what a new child leaves alone (`work_out`): what it begins with; -1 for not worked out, as after
        # each change that is not a new child.
        self.head = -1
        self.middle = self.end = b""

    def work_out(self, path: str) -> None:
        """Prepare for new children: the digest after one is that of pzxid, `middle`, cversion, `end` behind `head`."""
        self.head = crc32(path.encode() + (self.data or b"") + _HEAD.pack(self.czxid, self.mzxid))
        self.middle = _MIDDLE.pack(self.ctime, self.mtime, self.version)
        self.end = _END.pack(self.aversion, self.owner)

    def copy(self) -> "Shadow":
        """An independent copy, for the undo list of a multi."""
        twin = Shadow.__new__(Shadow)
        for name in Shadow.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin


class Outstanding:
    """The shadows by path, and how far the applied tree has caught up with them."""

    __slots__ = ("_parents", "_tree", "_undo", "changes", "digest", "shadows")

    def __init__(self, tree: DataTree) -> None:
        self._tree = tree
        self.shadows: dict[str, Shadow | ZNode | UsualSet] = {}
        # (zxid, path, its parent's path or None) per change, oldest first: what `applied` walks through
        self.changes: deque[tuple[int, str, str | None]] = deque()
        # Shadows that are dropped, of znodes that got children: good for as long as the znode's numbers are theirs.
        self._parents: dict[str, Shadow] = {}
        # the tree digest after everything proposed
        self.digest = tree.digest
        # while a multi is prepared: what to put back if it fails, newest last
        self._undo: list[tuple[str, Shadow | ZNode | UsualSet | None]] | None = None

    def find(self, path: str) -> Shadow | ZNode | None:
        """The node at `path` as it will be, to look at only; None if it will not exist."""
        shadow = self.shadows.get(path)
        if shadow is None:
            return self._tree.nodes.get(path)
        if type(shadow) is ZNode:
            return shadow
        if type(shadow) is UsualSet:
            shadow = self._shadow_of(path, shadow)
        assert type(shadow) is Shadow
        return shadow if shadow.exists else None

    def child_count(self, found: Shadow | ZNode) -> int:
        """How many children a node that `find` gave will have."""
        if type(found) is Shadow:
            return found.children
        children = found.children
        return len(children) if children else 0  # type: ignore[arg-type]

    def change(self, path: str, zxid: int) -> Shadow:
        """The shadow of an existing node, to be changed by txn `zxid`; call `changed` afterwards."""
        shadow = self.shadows.get(path)
        self.changes.append((zxid, path, None))
        if type(shadow) is UsualSet:
            shadow = self._shadow_of(path, shadow)
        if type(shadow) is Shadow:
            if self._undo is not None:
                self._undo.append((path, shadow.copy()))
            shadow.zxid = zxid
            return shadow
        if self._undo is not None:
            self._undo.append((path, shadow))
        node = self._tree.nodes[path] if shadow is None else shadow
        assert type(node) is ZNode
        shadow = Shadow(zxid, node, len(node.children) if node.children else 0, self._digest_of_node(path, node))
        self.shadows[path] = shadow
        return shadow

    def _shadow_of(self, path: str, txn: UsualSet) -> Shadow:
        """The shadow of a node of which nothing but setData is proposed, this one last; from now on it stands there."""
        node = self._tree.nodes[path]
        shadow = Shadow(txn.zxid, node, len(node.children) if node.children else 0, txn.digest)
        shadow.data = txn.data
        shadow.version = txn.version
        shadow.mtime = txn.mtime
        shadow.mzxid = txn.zxid
        self.shadows[path] = shadow
        return shadow

    def shadow_of_parent(self, path: str, node: ZNode) -> Shadow:
        """The shadow of a node of which no change is proposed, to be given a child; the caller puts it in place.

        Where each turn has new children for the same nodes it is the one of the last time.
        """
        shadow = self._parents.get(path)
        if (
            shadow is not None
            and shadow.pzxid == node.pzxid
            and shadow.mzxid == node.mzxid
            and shadow.aversion == node.aversion
            and shadow.czxid == node.czxid
        ):
            return shadow
        return Shadow(node.pzxid, node, len(node.children) if node.children else 0, node.digest)

    def changed(self, path: str, shadow: Shadow) -> None:
        """Bring the digest up to date after a change of `shadow`'s fields."""
        shadow.head = -1  # whatever it was that changed
        if self._tree.digest_enabled and not path.startswith(EXCLUDED):
            digest = node_digest(path, shadow)
            self.digest = self.digest - shadow.digest + digest & MASK
            shadow.digest = digest

    def add(self, path: str, node: ZNode, zxid: int) -> None:
        """`node` will be created at `path`; until then it is not to be changed."""
        if self._undo is not None:
            self._undo.append((path, self.shadows.get(path)))
        self.shadows[path] = node
        self.changes.append((zxid, path, None))
        if self._tree.digest_enabled:
            digest = node.digest = node_digest(path, node)
            self.digest = self.digest + digest & MASK

    def remove(self, path: str, zxid: int) -> None:
        """The node at `path` will be deleted."""
        shadow = self.change(path, zxid)
        self.digest = self.digest - shadow.digest & MASK
        shadow.exists = False
        shadow.digest = 0
        shadow.head = -1

    # --- multis ------------------------------------------------------------------------------------------------

    def begin(self) -> tuple[int, int]:
        """Start remembering; the mark goes to `roll_back` or is dropped by `keep`."""
        self._undo = []
        return len(self.changes), self.digest

    def keep(self) -> None:
        """The multi succeeded: what it changed stays."""
        self._undo = None

    def roll_back(self, mark: tuple[int, int]) -> None:
        """The multi failed: put everything back as it was at `begin`."""
        assert self._undo is not None
        for path, shadow in reversed(self._undo):
            if shadow is None:
                del self.shadows[path]
            else:
                self.shadows[path] = shadow
        self._undo = None
        count, self.digest = mark
        while len(self.changes) > count:
            self.changes.pop()

    # --- catching up -------------------------------------------------------------------------------------------

    def applied(self, zxid: int) -> None:
        """Everything up to txn `zxid` is in the tree now: drop the shadows that nothing later changes."""
        changes = self.changes
        shadows = self.shadows
        if not changes:
            return
        if changes[-1][0] <= zxid:  # all that was proposed
            for path, shadow in shadows.items():
                if type(shadow) is Shadow:
                    self._settle(path, shadow)
                    if shadow.head >= 0:
                        if len(self._parents) >= PARENTS_LIMIT:
                            self._parents.clear()
                        self._parents[path] = shadow
            shadows.clear()
            changes.clear()
            return
        while changes[0][0] <= zxid:
            _, path, parent_path = changes.popleft()
            self._drop(path, zxid)
            if parent_path is not None:
                self._drop(parent_path, zxid)

    def _drop(self, path: str, zxid: int) -> None:
        last = self.shadows.get(path)
        if last is not None and (last.czxid if isinstance(last, ZNode) else last.zxid) <= zxid:
            del self.shadows[path]
            if type(last) is Shadow:
                self._settle(path, last)

    def _settle(self, path: str, shadow: Shadow) -> None:
        """The node is as its shadow was: its digest was worked out once, when the txn was prepared."""
        if shadow.exists and self._tree.digest_enabled:
            self._tree.nodes[path].digest = shadow.digest

    def ephemerals_of(self, session_id: int) -> list[str]:
        """The ephemerals the session will own: those in the tree and those proposed, less those to be deleted."""
        paths = dict.fromkeys(self._tree.sessions.ephemerals.get(session_id, ()))
        for _, path, _ in self.changes:
            shadow = self.find(path)
            if shadow is None or shadow.owner != session_id:
                paths.pop(path, None)
            else:
                paths[path] = None
        return list(paths)

    def _digest_of_node(self, path: str, node: ZNode) -> int:
        if not self._tree.digest_enabled:
            return 0
        if node.digest >= 0:
            return node.digest
        return node_digest(path, node)
