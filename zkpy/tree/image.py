"""The tree as bytes: the body of a snapshot file, and of a SNAP between servers.

    sessions  int count, then id long, timeout int each
    ACLs      int count, then key long, vector of ACL each; world:anyone with all permissions is key -1 and not listed
    nodes     path ustring, data buffer, ACL key long, StatPersisted; parents first; ended by the path "/"

Writing is *fuzzy*: the tree goes on changing between two slices, and replaying the txns since `start_zxid` over the
image gives the tree as it is afterwards. Nodes born after the start are left out (replay makes them), and a node's ACL
is written as it was at the start, so every ACL key in the image is in its map. Sources: FileSnap, DataTree.serialize.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from struct import error as StructError
from typing import Final

from jute import JuteError
from zkpy.proto.records import ACL
from zkpy.tree.acl import OPEN, Acl, from_key, intern, interned
from zkpy.tree.datatree import DataTree
from zkpy.tree.znode import ZNode

_INT: Final = Struct(">i")
_SESSION: Final = Struct(">qi")
_LONG: Final = Struct(">q")
#: ACL key and StatPersisted in one call.
_TAIL: Final = Struct(">qqqqqiiiqq")

OPEN_KEY: Final = -1
END: Final = b"\0\0\0\1/"
#: The number of nodes after which a load reports how far it has come.
PROGRESS_NODES: Final = 1 << 16


class ImageWriter:
    """Walks the tree in slices. `close` it, or take it to its end, or the tree goes on keeping old ACLs for it.

    Its one step that cannot be cut into slices is to copy the names in one directory: about 10 ms for a million.
    """

    def __init__(self, tree: DataTree) -> None:
        """The image begins now: its sessions, its ACLs and its `start_zxid` are those of this moment."""
        self.start_zxid = tree.last_zxid
        self.is_done = False
        self._tree = tree
        self._old_acls: dict[str, Acl] = {}
        tree.old_acls.append(self._old_acls)
        self._keys: dict[Acl, int] = {OPEN: OPEN_KEY}
        self._head = self._encode_head()
        # One frame per level of the walk: the directory with its final "/", and the names in it still to come. The
        # root is the one name in the frame above all.
        self._frames: list[tuple[str, Iterator[str]]] = [("", iter([""]))]

    def close(self) -> None:
        """No more slices: the tree need not remember old ACLs any longer."""
        # By identity: two of them may well be equal.
        self._tree.old_acls[:] = [one for one in self._tree.old_acls if one is not self._old_acls]
        self.is_done = True

    def next_slice(self, budget: int) -> bytes:
        """The next bytes, `budget` of them or one node more; empty when the image is complete."""
        if self.is_done:
            return b""
        out = bytearray(self._head)
        self._head = b""
        frames = self._frames
        while frames and len(out) < budget:
            directory, names = frames[-1]
            children = self._write_some(out, directory, names, budget)
            if children is not None:
                frames.append(children)
            elif len(out) < budget:
                frames.pop()
        if not frames:
            out += END
            self.close()
        return bytes(out)

    def _write_some(
        self, out: bytearray, directory: str, names: Iterator[str], budget: int
    ) -> tuple[str, Iterator[str]] | None:
        """Write nodes of a directory, up to and with the first that has children: then the frame to go on with.

        None when the budget is used up or the directory is done.
        """
        nodes = self._tree.nodes
        old_acls = self._old_acls
        keys = self._keys
        start_zxid = self.start_zxid
        pack_int = _INT.pack
        pack_tail = _TAIL.pack
        for name in names:
            path = directory + name
            node = nodes.get(path)
            # Gone meanwhile, or born meanwhile; its descendants can then only have been born later still.
            if node is None or node.czxid > start_zxid:
                continue
            encoded = path.encode()
            data = node.data
            acl = old_acls.get(path, node.acl) if old_acls else node.acl
            out += pack_int(len(encoded))
            out += encoded
            if data is None:
                out += b"\xff\xff\xff\xff"
            else:
                out += pack_int(len(data))
                out += data
            out += pack_tail(
                keys[acl],
                node.czxid,
                node.mzxid,
                node.ctime,
                node.mtime,
                node.version,
                node.cversion,
                node.aversion,
                node.owner,
                node.pzxid,
            )
            if node.children:
                return path + "/", iter(list(node.children))
            if len(out) >= budget:
                break
        return None

    def _encode_head(self) -> bytes:
        timeouts = self._tree.sessions.timeouts
        out = bytearray(_INT.pack(len(timeouts)))
        for session_id, timeout_ms in timeouts.items():
            out += _SESSION.pack(session_id, timeout_ms)
        acls = [acl for acl in interned() if acl is not OPEN]
        out += _INT.pack(len(acls))
        for key, acl in enumerate(acls, 1):
            self._keys[acl] = key
            out += _LONG.pack(key)
            out += _INT.pack(len(acl))
            for entry in acl:
                entry.encode(out)
        return bytes(out)


def load_image(
    tree: DataTree, image: bytes | memoryview, at: int = 0, progress: Callable[[int], None] | None = None
) -> int:
    """Load the image that starts at `at`, in place of all that the tree holds; the offset behind it.

    The caller then sets `last_zxid` and calls `finish_load`. A node that names an ACL which the image lacks is closed
    to everybody until replay says otherwise. `progress` is called now and then with the offset reached. Raises
    JuteError for damage: the tree is then half loaded, and must be cleared before anything else.
    """
    loader = ImageLoader(tree, progress=progress)
    at = loader.feed(memoryview(image), at)
    if not loader.is_done:
        raise JuteError("snapshot", at, f"cut short: only {len(image) - at} bytes are left")
    return at


class ImageLoader:
    """Loads an image as it arrives, in place of all that the tree holds.

    The memory it takes is the tree's and what `feed` leaves: one node at most, of `limit` bytes.
    """

    __slots__ = ("_acls", "_acls_left", "_countdown", "_limit", "_progress", "_sessions_left", "_tree", "is_done")

    def __init__(
        self, tree: DataTree, limit: int = (1 << 31) - 1, progress: Callable[[int], None] | None = None
    ) -> None:
        """Names and data longer than `limit` are not believed."""
        tree.clear()
        self.is_done = False
        self._tree = tree
        self._limit = limit
        self._progress = progress
        # how many are still to come, -1 while that is not known
        self._sessions_left = -1
        self._acls_left = -1
        self._acls: dict[int, Acl] = {OPEN_KEY: OPEN}
        self._countdown = PROGRESS_NODES

    def feed(self, view: bytes | memoryview, at: int = 0) -> int:
        """Load what is whole in `view` from `at` on; the offset of what is not, to be given again with more behind it.

        Once `is_done`, that is the offset behind the image. Raises JuteError for what can be no image.
        """
        view = memoryview(view)
        if self._sessions_left:
            at = self._load_sessions(view, at)
        if not self._sessions_left and self._acls_left:
            at = self._load_acls(view, at)
        if not self._sessions_left and not self._acls_left and not self.is_done:
            at = self._load_nodes(view, at)
        return at

    def _load_sessions(self, view: memoryview, at: int) -> int:
        if self._sessions_left < 0:
            if len(view) - at < 4:
                return at
            # A negative count is taken for none, as Apache takes it.
            self._sessions_left = max(0, _INT.unpack_from(view, at)[0])
            at += 4
        count = min(self._sessions_left, (len(view) - at) // _SESSION.size)
        end = at + count * _SESSION.size
        self._tree.sessions.timeouts.update(_SESSION.iter_unpack(view[at:end]))
        self._sessions_left -= count
        return end

    def _load_acls(self, view: memoryview, at: int) -> int:
        if self._acls_left < 0:
            if len(view) - at < 4:
                return at
            self._acls_left = max(0, _INT.unpack_from(view, at)[0])
            at += 4
        while self._acls_left:
            start = at
            if len(view) - at < 12:
                return start
            (key,) = _LONG.unpack_from(view, at)
            (entries,) = _INT.unpack_from(view, at + 8)
            if entries < 0:
                raise JuteError("snapshot.acl", at + 8, "a null ACL")
            at += 12
            acl = []
            try:
                for _ in range(entries):
                    entry, at = ACL.decode(view, at)
                    acl.append(entry)
            except JuteError:
                # Damage and a record that is still on its way look the same.
                if len(view) - start > self._limit:
                    raise
                return start
            self._acls[key] = intern(acl)
            self._acls_left -= 1
        return at

    def _load_nodes(self, view: memoryview, at: int) -> int:
        unpack_int = _INT.unpack_from
        unpack_tail = _TAIL.unpack_from
        load = self._tree.load
        nodes = self._tree.nodes
        acls = self._acls
        limit = self._limit
        size = len(view)
        countdown = self._countdown
        start = at
        try:
            while True:
                start = at
                (length,) = unpack_int(view, at)
                at += 4
                if not 0 <= length <= limit:
                    raise JuteError("snapshot.path", start, f"length {length}")
                if length > size - at:
                    return start
                path = str(view[at : at + length], "utf-8", "replace")
                at += length
                if path == "/":
                    self.is_done = True
                    return at
                if path and path[0] != "/":
                    raise JuteError("snapshot.path", start, f"{path!r} is not a path")
                (length,) = unpack_int(view, at)
                at += 4
                if length == -1:
                    data = None
                elif 0 <= length <= limit:
                    if length > size - at:
                        return start
                    data = bytes(view[at : at + length])
                    at += length
                else:
                    raise JuteError("snapshot.data", at - 4, f"length {length}")
                key, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid = unpack_tail(view, at)
                at += 68
                # One int object where the numbers are equal: most nodes are never changed, and there may be millions.
                if mzxid == czxid:
                    mzxid = czxid
                if pzxid == czxid:
                    pzxid = czxid
                if mtime == ctime:
                    mtime = ctime
                acl = acls.get(key)
                if acl is None:
                    acl = acls[key] = from_key([(0, "world", "anyone")])
                if path in nodes:
                    raise JuteError("snapshot.path", start, f"{path!r} comes twice")
                node = ZNode(data, acl, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid)
                if not load(path, node):
                    raise JuteError("snapshot.path", start, f"{path!r} comes before its parent")
                countdown -= 1
                if not countdown:
                    countdown = PROGRESS_NODES
                    if self._progress is not None:
                        self._progress(at)
        except StructError:
            return start
        finally:
            self._countdown = countdown
