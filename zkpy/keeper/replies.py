"""Packets for clients, each with its length in front, ready to send.

    reply   int length, int xid, long zxid, int err, then the response record if err is 0
    event   the same header with xid -1, then type, state, path

Many of these are made per turn, so each is one `Struct` call and one concatenation.
"""

from struct import Struct
from typing import Final

from zkpy.proto import opcodes
from zkpy.proto.events import SYNC_CONNECTED
from zkpy.proto.opcodes import XID_EVENT
from zkpy.proto.records import WatcherEvent
from zkpy.tree.datatree import Result
from zkpy.tree.znode import ZNode, wrap_int

_HEAD: Final = Struct(">iiqi")
_STRING_HEAD: Final = Struct(">iiqii")
_STAT_REPLY: Final = Struct(">iiqiqqqqiiiqiiq")
_EVENT: Final = Struct(">iiqiiii")
_CONNECT: Final = Struct(">iiiqi")
_INT: Final = Struct(">i")
_MULTI_HEAD: Final = Struct(">i?i")
_MULTI_END: Final = _MULTI_HEAD.pack(-1, True, -1)
NULL_BUFFER: Final = b"\xff\xff\xff\xff"
NO_PASSWORD: Final = bytes(16)


def reply(xid: int, zxid: int, body: bytes) -> bytes:
    """A reply with `body`, the encoded response record (empty where there is none)."""
    return _HEAD.pack(16 + len(body), xid, zxid, 0) + body


def stat_reply(xid: int, zxid: int, node: ZNode, extended: bool) -> bytes:
    """A reply whose record is the stat of `node`: see `ZNode.stat`, which this is for the usual node."""
    if node.owner:
        return reply(xid, zxid, node.stat(extended))
    children = len(node.children) if node.children else 0
    return _STAT_REPLY.pack(
        84,
        xid,
        zxid,
        0,
        node.czxid,
        node.mzxid,
        node.ctime,
        node.mtime,
        node.version,
        wrap_int(2 * node.cversion - children),
        node.aversion,
        0,
        len(node.data) if node.data else 0,
        children,
        node.pzxid,
    )


def path_reply(xid: int, zxid: int, path: str, stat: bytes = b"") -> bytes:
    """A reply whose record is a path (create), or a path and a stat (create2)."""
    encoded = path.encode()
    size = len(encoded)
    return _STRING_HEAD.pack(20 + size + len(stat), xid, zxid, 0, size) + encoded + stat


def error_reply(xid: int, zxid: int, code: int) -> bytes:
    """A reply without a body."""
    return _HEAD.pack(16, xid, zxid, code)


def event(kind: int, path: str, zxid: int) -> bytes:
    """A watch event; `zxid` is that of the txn that fired it, -1 for catch-up events of setWatches."""
    if path.isascii():
        encoded = path.encode()
        return _EVENT.pack(28 + len(encoded), XID_EVENT, zxid, 0, kind, SYNC_CONNECTED, len(encoded)) + encoded
    out = bytearray()  # a watched path may hold what no znode's may
    WatcherEvent(kind, SYNC_CONNECTED, path).encode(out)
    return _HEAD.pack(16 + len(out), XID_EVENT, zxid, 0) + out


def connect_reply(timeout_ms: int, session_id: int, password: bytes, read_only: bool | None) -> bytes:
    """A ConnectResponse; `read_only` None leaves the flag out, for clients that do not know it."""
    tail = b"" if read_only is None else b"\1" if read_only else b"\0"
    body = _CONNECT.pack(20 + len(password) + len(tail), 0, timeout_ms, session_id, len(password))
    return body + password + tail


def _string(text: str | None) -> bytes:
    encoded = (text or "").encode()
    return _INT.pack(len(encoded)) + encoded


def write_body(type_: int, result: Result) -> bytes:
    """The response record of a write that went through."""
    if type_ in (opcodes.SET_DATA, opcodes.SET_ACL):
        return result.stat or b""
    if type_ == opcodes.CREATE:
        return _string(result.path)
    if type_ in (opcodes.CREATE2, opcodes.CREATE_CONTAINER, opcodes.CREATE_TTL):
        return _string(result.path) + (result.stat or b"")
    if type_ == opcodes.MULTI:
        return _multi_body(result.results or [])
    return b""


def _multi_body(results: list[Result]) -> bytes:
    """A MultiResponse: per operation its type and result, or its error code twice."""
    parts: list[bytes] = []
    for result in results:
        type_ = result.type
        if type_ == opcodes.ERROR:
            parts += (_MULTI_HEAD.pack(opcodes.ERROR, False, result.err), _INT.pack(result.err))
            continue
        if type_ in (opcodes.CREATE_CONTAINER, opcodes.CREATE_TTL):
            type_ = opcodes.CREATE2
        parts += (_MULTI_HEAD.pack(type_, False, 0), write_body(type_, result))
    parts.append(_MULTI_END)
    return b"".join(parts)
