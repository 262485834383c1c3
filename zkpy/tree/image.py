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
from zlib import crc32

from jute import JuteError
from zkpy.proto.records import ACL
from zkpy.tree.acl import OPEN, Acl, from_key, intern, interned
from zkpy.tree.datatree import DataTree
from zkpy.tree.digest import EXCLUDED
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
#: The number of nodes that are read before they go into the tree.
BATCH_NODES: Final = 1 << 10
_SLASH: Final = ord("/")
_EXCLUDED: Final = EXCLUDED.encode()


class ImageWriter:
    """Walks the tree in slices. `close` it, or take it to its end, or the tree goes on keeping old ACLs for it.

    Its one step that cannot be cut into slices is to copy the paths in one directory: about 10 ms for a million.
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
        # One frame per level of the walk: the paths in a directory still to come. The root is alone in the first.
        self._frames: list[Iterator[str]] = [iter([""])]

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
            children = self._write_some(out, frames[-1], budget)
            if children is not None:
                frames.append(children)
            elif len(out) < budget:
                frames.pop()
        if not frames:
            out += END
            self.close()
        return bytes(out)

    def _write_some(self, out: bytearray, paths: Iterator[str], budget: int) -> Iterator[str] | None:
        """Write nodes of a directory, up to and with the first that has children: then the frame to go on with.

        None when the budget is used up or the directory is done.
        """
        nodes = self._tree.nodes
        old_acls = self._old_acls
        keys = self._keys
        start_zxid = self.start_zxid
        pack_int = _INT.pack
        pack_tail = _TAIL.pack
        for path in paths:
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
                # A copy: it goes on changing. As a dict, which the collector does not look into: with a list it stood
                # still for 11 ms where there are a million.
                return iter(node.children.copy())
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


def load_image(tree: DataTree, image: bytes, at: int = 0, progress: Callable[[int], None] | None = None) -> int:
    """Load the image that starts at `at`, in place of all that the tree holds; the offset behind it.

    The caller then sets `last_zxid` and calls `finish_load`. A node that names an ACL which the image lacks is closed
    to everybody until replay says otherwise. `progress` is called now and then with the offset reached. Raises
    JuteError for damage: the tree is then half loaded, and must be cleared before anything else.
    """
    loader = ImageLoader(tree, progress=progress)
    at = loader.feed(image, at)
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

    def feed(self, buf: bytes, at: int = 0) -> int:
        """Load what is whole in `buf` from `at` on; the offset of what is not, to be given again with more behind it.

        Once `is_done`, that is the offset behind the image. Raises JuteError for what can be no image.
        """
        if self._sessions_left:
            at = self._load_sessions(buf, at)
        if not self._sessions_left and self._acls_left:
            at = self._load_acls(buf, at)
        if not self._sessions_left and not self._acls_left:
            at = self._load_nodes(buf, at)
        return at

    def _load_sessions(self, buf: bytes, at: int) -> int:
        if self._sessions_left < 0:
            if len(buf) - at < 4:
                return at
            # A negative count is taken for none, as Apache takes it.
            self._sessions_left = max(0, _INT.unpack_from(buf, at)[0])
            at += 4
        count = min(self._sessions_left, (len(buf) - at) // _SESSION.size)
        end = at + count * _SESSION.size
        self._tree.sessions.timeouts.update(_SESSION.iter_unpack(buf[at:end]))
        self._sessions_left -= count
        return end

    def _load_acls(self, buf: bytes, at: int) -> int:
        if self._acls_left < 0:
            if len(buf) - at < 4:
                return at
            self._acls_left = max(0, _INT.unpack_from(buf, at)[0])
            at += 4
        while self._acls_left:
            start = at
            if len(buf) - at < 12:
                return start
            (key,) = _LONG.unpack_from(buf, at)
            (entries,) = _INT.unpack_from(buf, at + 8)
            if entries < 0:
                raise JuteError("snapshot.acl", at + 8, "a null ACL")
            at += 12
            acl = []
            try:
                for _ in range(entries):
                    entry, at = ACL.decode(buf, at)
                    acl.append(entry)
            except JuteError:
                # Damage and a record that is still on its way look the same.
                if len(buf) - start > self._limit:
                    raise
                return start
            self._acls[key] = intern(acl)
            self._acls_left -= 1
        return at

    def _load_nodes(self, buf: bytes, at: int) -> int:
        most = min(BATCH_NODES, PROGRESS_NODES)
        found: list[tuple[str, ZNode]] = []
        while not self.is_done:
            start = at
            at, digest = self._read_nodes(buf, at, found, most)
            try:
                self._tree.load_many(found, digest)
            except ValueError as error:
                raise JuteError("snapshot.path", start, str(error)) from None
            self._countdown -= len(found)
            if self._countdown <= 0:
                self._countdown = PROGRESS_NODES
                if self._progress is not None:
                    self._progress(at)
            if len(found) < most:
                break
            found.clear()
        return at

    def _read_nodes(self, buf: bytes, at: int, found: list[tuple[str, ZNode]], most: int) -> tuple[int, int]:
        """Find at most so many nodes; the offset behind them, and the sum of their digests.

        All in one piece, and the digests from the bytes as they stand here: a start takes as long as this does.
        """
        unpack_int = _INT.unpack_from
        unpack_tail = _TAIL.unpack_from
        acls = self._acls
        limit = self._limit
        size = len(buf)
        has_digests = self._tree.digest_enabled
        digest = start = last_ctime = 0
        try:
            while len(found) < most:
                start = at
                (length,) = unpack_int(buf, at)
                at += 4
                if not 0 <= length <= limit:
                    raise JuteError("snapshot.path", start, f"length {length}")
                end = at + length
                if end > size:
                    return start, digest
                raw = buf[at:end]
                if raw == b"/":
                    self.is_done = True
                    return end, digest
                path = raw.decode("utf-8", "replace")
                if raw and raw[0] != _SLASH:
                    raise JuteError("snapshot.path", start, f"{path!r} is not a path")
                (length,) = unpack_int(buf, end)
                at = end + 4
                data: bytes | None
                if length == -1:
                    data = None
                elif 0 <= length <= limit:
                    end = at + length
                    if end > size:
                        return start, digest
                    data = buf[at:end]
                    at = end
                else:
                    raise JuteError("snapshot.data", at - 4, f"length {length}")
                key, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid = unpack_tail(buf, at)
                if has_digests and not raw.startswith(_EXCLUDED):
                    if not raw.isascii():
                        raw = path.encode()  # what was no UTF-8 counts as what it was taken for
                    # czxid and mzxid, pzxid, and what stands between them here
                    fields = buf[at + 8 : at + 24] + buf[at + 60 : at + 68] + buf[at + 24 : at + 60]
                    digest += crc32(raw + data + fields if data else raw + fields)
                at += 68
                # One int object where the numbers are equal: most nodes are never changed, many were made in the same
                # millisecond, and there may be millions.
                if mzxid == czxid:
                    mzxid = czxid
                if pzxid == czxid:
                    pzxid = czxid
                if ctime == last_ctime:
                    ctime = last_ctime
                else:
                    last_ctime = ctime
                if mtime == ctime:
                    mtime = ctime
                acl = acls.get(key)
                if acl is None:
                    acl = acls[key] = from_key([(0, "world", "anyone")])
                found.append(
                    (path, ZNode(data, acl, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid))
                )
        except StructError:
            return start, digest
        return at, digest
