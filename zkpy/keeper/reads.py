"""Answers from the tree: every operation that changes nothing but watches.

Each handler takes the request's frame (a RequestHeader, then the body from offset 8) and returns the encoded response
record, or raises: `Refusal` with an error code, `JuteError` for a body that is not what it should be. Watch and answer
are one step, so that nothing can change between them. Source: FinalRequestProcessor.
"""

from collections import Counter
from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Final

from jute.wire import read_long, read_ustring, read_vector
from zkpy.keeper import replies
from zkpy.keeper.auth import Identities, permits, redacted, user_name
from zkpy.keeper.connection import Connection
from zkpy.keeper.namespaces import CachedReply, Namespaces
from zkpy.keeper.requests import Refusal
from zkpy.keeper.settings import Settings
from zkpy.proto import errors, events, opcodes
from zkpy.proto.records import (
    ACL,
    AddWatchRequest,
    CheckWatchesRequest,
    ClientInfo,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    MultiHeader,
    SyncRequest,
    WhoAmIResponse,
)
from zkpy.tree.datatree import DataTree
from zkpy.tree.watches import PERSISTENT, RECURSIVE, STANDARD, Watches
from zkpy.tree.znode import ZNode

_INT: Final = Struct(">i")

#: removeWatches' and checkWatches' type → the modes it means in the (data, child) table.
_WATCHER_MODES: Final = {
    opcodes.WATCHER_CHILDREN: (0, STANDARD),
    opcodes.WATCHER_DATA: (STANDARD, 0),
    opcodes.WATCHER_ANY: (-1, -1),
    opcodes.WATCHER_PERSISTENT: (PERSISTENT, PERSISTENT),
    opcodes.WATCHER_PERSISTENT_RECURSIVE: (RECURSIVE, 0),
}

PathList = list[str | None] | None

_SET_WATCHES: Final = ("SetWatches.dataWatches", "SetWatches.existWatches", "SetWatches.childWatches")
_SET_WATCHES2: Final = (*_SET_WATCHES, "SetWatches2.persistentWatches", "SetWatches2.persistentRecursiveWatches")

#: What Java's String.trim takes off.
_JAVA_BLANKS: Final = "".join(map(chr, range(33)))

#: Stands for a null path in the watch tables, where Apache has a null key: no znode has this path.
_NOWHERE: Final = "\0"

#: How large the answer to a multiRead may get, in bytes and in frames of jute.maxbuffer, whichever is more: a request
#: of one frame could name a large znode tens of thousands of times.
MULTI_READ_LIMIT: Final = 1 << 24
MULTI_READ_FRAMES: Final = 16

#: How many znodes keep their encoded GetDataResponse (Apache's maxResponseCacheSize is 400).
CACHED_REPLIES_LIMIT: Final = 4096


class Reads:
    """The handlers, over one tree and its watches."""

    def __init__(
        self, tree: DataTree, watches: Watches[Connection], settings: Settings, namespaces: Namespaces
    ) -> None:
        """Answer from `tree`; what is read is counted in `namespaces`, up to the last `count`."""
        self.tree = tree
        self.namespaces = namespaces
        self.watches = watches
        self.settings = settings
        self._extended = tree.extended_types
        # What znodes hold as their reply (ZNode.reply), or have held; emptied whole when full.
        self._cached: list[CachedReply] = []
        # The paths of exists answered since the last `count`.
        self._found: list[str] = []

    # --- data --------------------------------------------------------------------------------------------------

    def get_data(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """getData: the hottest of all, so it decodes its two fields itself."""
        try:
            end = 12 + _INT.unpack_from(frame, 8)[0]
            if end < 12:
                raise Refusal(errors.MARSHALLINGERROR)
            watch = frame[end]
        except (IndexError, StructError) as error:
            raise Refusal(errors.MARSHALLINGERROR) from error
        path = str(frame[12:end], "utf-8", "replace")
        node = self.tree.nodes.get(path)
        if node is None:
            raise Refusal(errors.NONODE)
        if not node.acl.world & opcodes.PERM_READ:
            self._permit(node, opcodes.PERM_READ, identities)
        if watch:
            self.watches.watch_data(path, connection)
        cached: CachedReply | None = node.reply
        if cached is None:
            if len(self._cached) >= CACHED_REPLIES_LIMIT:
                self.forget()
            cached = node.reply = CachedReply(path, node, self._data_and_stat(node))
            self._cached.append(cached)
        cached.reads += 1
        return cached.body

    def exists(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """exists: leaves its watch whether the node is there or not."""
        request = GetDataRequest.decode(frame, 8)[0]
        path = request.path
        if path is None:
            raise Refusal(errors.MARSHALLINGERROR)
        if "\0" in path:
            raise Refusal(errors.BADARGUMENTS)
        node = self.tree.nodes.get(path)
        if node is not None:
            self._permit(node, opcodes.PERM_READ, identities)
        if request.watch:
            self.watches.watch_data(path, connection)
        if node is None:
            raise Refusal(errors.NONODE)
        self._found.append(path)
        return node.stat(self._extended)

    def get_children(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """getChildren: the names alone."""
        return self._children(connection, frame, identities)[0]

    def get_children2(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """getChildren2: the names and the Stat."""
        names, node = self._children(connection, frame, identities)
        return names + node.stat(self._extended)

    def get_all_children_number(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """getAllChildrenNumber: how many descendants."""
        path = GetAllChildrenNumberRequest.decode(frame, 8)[0].path
        node = self._node(path)
        self._permit(node, opcodes.PERM_READ, identities)
        assert path is not None
        return _INT.pack(self.tree.subtree_size(path))

    def get_ephemerals(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """getEphemerals: this session's, by plain string prefix."""
        prefix = GetEphemeralsRequest.decode(frame, 8)[0].prefix_path or ""
        paths = list(self.tree.sessions.ephemerals.get(connection.session_id, ()))
        if prefix.strip(_JAVA_BLANKS) not in ("", "/"):
            paths = [path for path in paths if path.startswith(prefix)]
        return GetEphemeralsResponse(paths).to_bytes()

    # --- ACLs and identities -------------------------------------------------------------------------------------

    def get_acl(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """getACL: whole with ADMIN, with hidden digests with READ alone."""
        node = self._node(GetACLRequest.decode(frame, 8)[0].path)
        self._permit(node, opcodes.PERM_READ | opcodes.PERM_ADMIN, identities)
        entries: list[ACL] = node.acl
        if not self._may(node, opcodes.PERM_ADMIN, identities):
            entries = redacted(node.acl)
        out = bytearray(_INT.pack(len(entries)))
        for entry in entries:
            entry.encode(out)
        return bytes(out) + node.stat(self._extended)

    def who_am_i(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """whoAmI: the connection's identities, without secrets."""
        return WhoAmIResponse([ClientInfo(identity[0], user_name(identity)) for identity in identities]).to_bytes()

    # --- order ---------------------------------------------------------------------------------------------------

    def ping(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """ping: an empty answer, in its turn."""
        return b""

    def sync(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """sync: the path comes back; its place in the order is the point."""
        return SyncRequest.decode(frame, 8)[0].to_bytes()

    # --- watches -------------------------------------------------------------------------------------------------

    def add_watch(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """addWatch: a watch that stays, on any path."""
        request = AddWatchRequest.decode(frame, 8)[0]
        if request.mode not in (opcodes.ADD_WATCH_PERSISTENT, opcodes.ADD_WATCH_PERSISTENT_RECURSIVE):
            raise Refusal(errors.MARSHALLINGERROR)
        recursive = request.mode == opcodes.ADD_WATCH_PERSISTENT_RECURSIVE
        self.watches.watch_persistently(_NOWHERE if request.path is None else request.path, connection, recursive)
        return _INT.pack(0)

    def check_watches(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """checkWatches: is there such a watch of this connection?"""
        path, modes = _watcher(frame)
        if not self.watches.has(path, connection, *modes):
            raise Refusal(errors.NOWATCHER)
        return b""

    def remove_watches(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """removeWatches: take such watches of this connection away, without an event."""
        path, modes = _watcher(frame)
        if not self.watches.remove(path, connection, *modes):
            raise Refusal(errors.NOWATCHER)
        return b""

    def set_watches(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """setWatches: after a reconnect, the client's watches again, with events for what it missed."""
        self._restore_watches(connection, frame, _SET_WATCHES)
        return b""

    def set_watches2(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """setWatches2: the same with persistent watches."""
        persistent, recursive = self._restore_watches(connection, frame, _SET_WATCHES2)
        for path in _not_null(persistent):
            self.watches.watch_persistently(_NOWHERE if path is None else path, connection, False)
        for path in _not_null(recursive):
            self.watches.watch_persistently(_NOWHERE if path is None else path, connection, True)
        return b""

    def _restore_watches(self, connection: Connection, frame: bytes, fields: tuple[str, ...]) -> list[PathList]:
        """What changed after the client's zxid fires now (with zxid -1), the rest is watched (DataTree.setWatches).

        Returns the lists behind the first three. A list or path that is null is an error when its turn comes: what
        stands before it has had its effect, as in Apache.
        """
        zxid, at = read_long(frame, 8, "SetWatches.relativeZxid")
        lists: list[PathList] = []
        for field in fields:
            paths, at = read_vector(frame, at, field, read_ustring, 4)
            lists.append(paths)
        nodes = self.tree.nodes
        out = connection.out
        for path in _not_null(lists[0]):
            node = nodes.get(_path(path))
            if node is None:
                out.append(replies.event(events.NODE_DELETED, _path(path), -1))
            elif node.mzxid > zxid:
                out.append(replies.event(events.NODE_DATA_CHANGED, _path(path), -1))
            else:
                self.watches.watch_data(_path(path), connection)
        for path in _not_null(lists[1]):
            if _path(path) in nodes:
                out.append(replies.event(events.NODE_CREATED, _path(path), -1))
            else:
                self.watches.watch_data(_path(path), connection)
        for path in _not_null(lists[2]):
            node = nodes.get(_path(path))
            if node is None:
                out.append(replies.event(events.NODE_DELETED, _path(path), -1))
            elif node.pzxid > zxid:
                out.append(replies.event(events.NODE_CHILDREN_CHANGED, _path(path), -1))
            else:
                self.watches.watch_children(_path(path), connection)
        return lists[3:]

    # --- multiRead -------------------------------------------------------------------------------------------------

    def multi_read(self, connection: Connection, frame: bytes, identities: Identities) -> bytes:
        """multiRead: getData and getChildren, each with a result or an error of its own; watch flags are ignored.

        An answer of more than MULTI_READ_LIMIT is refused, where Apache's server runs out of memory.
        """
        steps: list[tuple[int, str | None]] = []
        at = 8
        head, at = MultiHeader.decode(frame, at)
        while not head.done:
            # Both requests look the same.
            if head.type not in (opcodes.GET_DATA, opcodes.GET_CHILDREN):
                raise Refusal(errors.MARSHALLINGERROR)
            request, at = GetDataRequest.decode(frame, at)
            steps.append((head.type, request.path))
            head, at = MultiHeader.decode(frame, at)
        out = bytearray()
        limit = max(MULTI_READ_LIMIT, MULTI_READ_FRAMES * self.settings.max_frame)
        for type_, path in steps:
            if len(out) > limit:
                raise Refusal(errors.MARSHALLINGERROR)
            try:
                node = self._node(path)
                self._permit(node, opcodes.PERM_READ, identities)
            except Refusal as refusal:
                if path is None:
                    raise
                MultiHeader(opcodes.ERROR, False, refusal.code).encode(out)
                out += _INT.pack(refusal.code)
            else:
                MultiHeader(type_, False, 0).encode(out)
                if type_ == opcodes.GET_DATA:
                    out += self._data_and_stat(node)
                    self.namespaces.add_read(_path(path), len(node.data) if node.data else 0)
                else:
                    out += self._names(_path(path), node)
        MultiHeader(-1, True, -1).encode(out)
        return bytes(out)

    # --- parts -----------------------------------------------------------------------------------------------------

    def _node(self, path: str | None) -> ZNode:
        if path is None:
            raise Refusal(errors.MARSHALLINGERROR)
        node = self.tree.nodes.get(path)
        if node is None:
            raise Refusal(errors.NONODE)
        return node

    def _may(self, node: ZNode, perms: int, identities: Identities) -> bool:
        acl = node.acl
        return bool(acl.world & perms) or self.settings.skip_acl or permits(acl, perms, identities)

    def _permit(self, node: ZNode, perms: int, identities: Identities) -> None:
        if not self._may(node, perms, identities):
            raise Refusal(errors.NOAUTH)

    def _data_and_stat(self, node: ZNode) -> bytes:
        data = node.data
        if data is None:
            return replies.NULL_BUFFER + node.stat(self._extended)
        return _INT.pack(len(data)) + data + node.stat(self._extended)

    def _children(self, connection: Connection, frame: bytes, identities: Identities) -> tuple[bytes, ZNode]:
        request = GetChildrenRequest.decode(frame, 8)[0]
        node = self._node(request.path)
        self._permit(node, opcodes.PERM_READ, identities)
        if request.watch:
            assert request.path is not None
            self.watches.watch_children(request.path, connection)
        return self._names(_path(request.path), node), node

    def _names(self, path: str, node: ZNode) -> bytes:
        """The children's names as a vector of strings."""
        children = node.children
        if not children:
            self.namespaces.add_read(path, 0)
            return _INT.pack(0)
        names = _encode_names(children, len(path) + 1 if path != "/" else 1)
        self.namespaces.add_read(path, len(names) - 4 * len(children))
        return _INT.pack(len(children)) + names

    # --- what was read -----------------------------------------------------------------------------------------------

    @property
    def has_many(self) -> bool:
        """Is it time to `count`, so that what is not counted does not grow?"""
        return len(self._found) >= CACHED_REPLIES_LIMIT

    def count(self) -> None:
        """Have `namespaces` know of all reads so far."""
        namespaces = self.namespaces
        for path, times in Counter(self._found).items():
            namespaces.add_read(path, 0, times)
        self._found.clear()
        for cached in self._cached:
            if cached.reads:
                namespaces.add_replies(cached.path, cached.size, cached.reads)
                cached.reads = 0

    def forget(self) -> None:
        """Keep no encoded answers, and count what was read."""
        self.count()
        for cached in self._cached:
            if cached.node.reply is cached:
                cached.node.reply = None
        self._cached.clear()


def _encode_names(paths: dict[str, None], cut: int) -> bytes:
    """Each path from `cut` on as a string with its length, one behind the other.

    Everybody waits while a parent of 100,000 is listed: whatever is done name by name shows.
    """
    names = [path[cut:] for path in paths]
    sizes = set(map(len, names))
    if len(sizes) == 1:
        # As the names of sequential nodes are. The length is the same then: four characters that separate them.
        before = _INT.pack(sizes.pop()).decode("latin-1")
        text = before + before.join(names)
        if text.isascii():
            return text.encode()
    encoded = [name.encode() for name in names]
    packed = {size: _INT.pack(size) for size in set(map(len, encoded))}
    parts = [b""] * (2 * len(encoded))
    parts[::2] = [packed[len(name)] for name in encoded]
    parts[1::2] = encoded
    return b"".join(parts)


def _watcher(frame: bytes) -> tuple[str, tuple[int, int]]:
    request = CheckWatchesRequest.decode(frame, 8)[0]
    modes = _WATCHER_MODES.get(request.type)
    if modes is None:
        raise Refusal(errors.MARSHALLINGERROR)
    return _NOWHERE if request.path is None else request.path, modes


def _not_null(paths: PathList) -> list[str | None]:
    if paths is None:
        raise Refusal(errors.MARSHALLINGERROR)
    return paths


def _path(path: str | None) -> str:
    if path is None:
        raise Refusal(errors.MARSHALLINGERROR)
    return path


Handler = Callable[[Reads, Connection, bytes, Identities], bytes]

#: opcode → (handler, the operation's name in `cons` and its kin).
READS: Final[dict[int, tuple[Handler, str]]] = {
    opcodes.EXISTS: (Reads.exists, "EXIS"),
    opcodes.GET_DATA: (Reads.get_data, "GETD"),
    opcodes.GET_ACL: (Reads.get_acl, "GETA"),
    opcodes.GET_CHILDREN: (Reads.get_children, "GETC"),
    opcodes.GET_CHILDREN2: (Reads.get_children2, "GETC"),
    opcodes.GET_ALL_CHILDREN_NUMBER: (Reads.get_all_children_number, "GETACN"),
    opcodes.GET_EPHEMERALS: (Reads.get_ephemerals, "GETE"),
    opcodes.SYNC: (Reads.sync, "SYNC"),
    opcodes.PING: (Reads.ping, "PING"),
    opcodes.MULTI_READ: (Reads.multi_read, "MLTR"),
    opcodes.ADD_WATCH: (Reads.add_watch, "ADDW"),
    opcodes.CHECK_WATCHES: (Reads.check_watches, "CHKW"),
    opcodes.REMOVE_WATCHES: (Reads.remove_watches, "REMW"),
    opcodes.SET_WATCHES: (Reads.set_watches, "SETW"),
    opcodes.SET_WATCHES2: (Reads.set_watches2, "STW2"),
    opcodes.WHO_AM_I: (Reads.who_am_i, "HOMI"),
}
