"""Packets for clients, each with its length in front, ready to send.

    reply   int length, int xid, long zxid, int err, then the response record if err is 0
    event   the same header with xid -1, then type, state, path

Many of these are made per turn, so each is one `Struct` call and one concatenation.
"""

from struct import Struct
from typing import Final

from zkpy.proto.events import SYNC_CONNECTED
from zkpy.proto.opcodes import XID_EVENT
from zkpy.proto.records import WatcherEvent

_HEAD: Final = Struct(">iiqi")
_STRING_HEAD: Final = Struct(">iiqii")
_EVENT: Final = Struct(">iiqiiii")
_CONNECT: Final = Struct(">iiiqi")
NULL_BUFFER: Final = b"\xff\xff\xff\xff"
NO_PASSWORD: Final = bytes(16)


def reply(xid: int, zxid: int, body: bytes) -> bytes:
    """A reply with `body`, the encoded response record (empty where there is none)."""
    return _HEAD.pack(16 + len(body), xid, zxid, 0) + body


def path_reply(xid: int, zxid: int, path: str) -> bytes:
    """A reply whose record is just a path (create)."""
    encoded = path.encode()
    size = len(encoded)
    return _STRING_HEAD.pack(20 + size, xid, zxid, 0, size) + encoded


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
