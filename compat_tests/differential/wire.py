"""The client protocol's bytes, both ways: field tables, a walker over them, and a blocking socket.

Slow and plain on purpose. It can say wrong things (any opcode, any xid, cut bodies, raw frames), and it keeps every
byte it did not understand, so that nothing a server sends goes unseen. Source: client-protocol reference, 1 to 8.
"""

from __future__ import annotations

import select
import socket
import struct
from typing import Any

NOTIFICATION_XID = -1
PING_XID = -2

# A reply that takes longer than this is taken as "no reply". Far above any fsync on a machine that does other things as
# well, and below the timeout of every session.
REPLY_TIMEOUT_S = 15.0

ID = (("scheme", "ustring"), ("id", "ustring"))
ACL = (("perms", "int"), ("id", ID))
STAT = (
    ("czxid", "long"),
    ("mzxid", "long"),
    ("ctime", "long"),
    ("mtime", "long"),
    ("version", "int"),
    ("cversion", "int"),
    ("aversion", "int"),
    ("ephemeralOwner", "long"),
    ("dataLength", "int"),
    ("numChildren", "int"),
    ("pzxid", "long"),
)
CLIENT_INFO = (("authScheme", "ustring"), ("user", "ustring"))

_PATH = (("path", "ustring"),)
_PATH_WATCH = (*_PATH, ("watch", "bool"))
_PATH_VERSION = (*_PATH, ("version", "int"))
_PATH_TYPE = (*_PATH, ("type", "int"))
_CREATE = (*_PATH, ("data", "buffer"), ("acl", [ACL]), ("flags", "int"))
_WATCHES = (("relativeZxid", "long"), ("data", ["ustring"]), ("exist", ["ustring"]), ("child", ["ustring"]))
_STAT_ONLY = (("stat", STAT),)
_PATH_STAT = (*_PATH, ("stat", STAT))
_CHILDREN = (("children", ["ustring"]),)
_DATA_STAT = (("data", "buffer"), ("stat", STAT))

CONNECT_REQUEST = (
    ("protocolVersion", "int"),
    ("lastZxidSeen", "long"),
    ("timeOut", "int"),
    ("sessionId", "long"),
    ("passwd", "buffer"),
)
CONNECT_RESPONSE = (("protocolVersion", "int"), ("timeOut", "int"), ("sessionId", "long"), ("passwd", "buffer"))
REQUEST_HEADER = (("xid", "int"), ("type", "int"))
REPLY_HEADER = (("xid", "int"), ("zxid", "long"), ("err", "int"))
WATCHER_EVENT = (("type", "int"), ("state", "int"), *_PATH)
MULTI_HEADER = (("type", "int"), ("done", "bool"), ("err", "int"))

# name: (opcode, request fields, response fields)
OPERATIONS: dict[str, tuple[int, tuple[Any, ...], tuple[Any, ...]]] = {
    "create": (1, _CREATE, _PATH),
    "delete": (2, _PATH_VERSION, ()),
    "exists": (3, _PATH_WATCH, _STAT_ONLY),
    "getData": (4, _PATH_WATCH, _DATA_STAT),
    "setData": (5, (*_PATH, ("data", "buffer"), ("version", "int")), _STAT_ONLY),
    "getACL": (6, _PATH, (("acl", [ACL]), ("stat", STAT))),
    "setACL": (7, (*_PATH, ("acl", [ACL]), ("version", "int")), _STAT_ONLY),
    "getChildren": (8, _PATH_WATCH, _CHILDREN),
    "sync": (9, _PATH, _PATH),
    "ping": (11, (), ()),
    "getChildren2": (12, _PATH_WATCH, (*_CHILDREN, ("stat", STAT))),
    "check": (13, _PATH_VERSION, ()),
    "multi": (14, (), ()),
    "create2": (15, _CREATE, _PATH_STAT),
    "reconfig": (
        16,
        (("joining", "ustring"), ("leaving", "ustring"), ("newMembers", "ustring"), ("curConfigId", "long")),
        _DATA_STAT,
    ),
    "checkWatches": (17, _PATH_TYPE, ()),
    "removeWatches": (18, _PATH_TYPE, ()),
    "createContainer": (19, _CREATE, _PATH_STAT),
    "createTTL": (21, (*_CREATE, ("ttl", "long")), _PATH_STAT),
    "multiRead": (22, (), ()),
    "auth": (100, (("type", "int"), ("scheme", "ustring"), ("auth", "buffer")), ()),
    "setWatches": (101, _WATCHES, ()),
    "sasl": (102, (("token", "buffer"),), (("token", "buffer"),)),
    "getEphemerals": (103, (("prefixPath", "ustring"),), (("ephemerals", ["ustring"]),)),
    "getAllChildrenNumber": (104, _PATH, (("totalNumber", "int"),)),
    "setWatches2": (105, (*_WATCHES, ("persistent", ["ustring"]), ("recursive", ["ustring"])), ()),
    "addWatch": (106, (*_PATH, ("mode", "int")), (("err", "int"),)),
    "whoAmI": (107, (), (("clientInfo", [CLIENT_INFO]),)),
    "closeSession": (-11, (), ()),
}
OPCODES = {name: entry[0] for name, entry in OPERATIONS.items()}
WRITES = frozenset(
    (
        *("create", "create2", "createContainer", "createTTL", "delete"),
        *("setData", "setACL", "multi", "reconfig", "closeSession"),
    )
)

# Results inside a multi or multiRead reply, by their header's type.
_RESULTS: dict[int, tuple[Any, ...]] = {
    1: _PATH,
    2: (),
    4: _DATA_STAT,
    5: _STAT_ONLY,
    8: _CHILDREN,
    13: (),
    15: _PATH_STAT,
    -1: (("err", "int"),),
}

_FIXED = {"int": struct.Struct(">i"), "long": struct.Struct(">q")}


class Undecodable(Exception):
    """The bytes are not the record they should be."""


def encode(kind: Any, value: Any) -> bytes:
    """The Jute bytes of `value`; `kind` is a primitive's name, `[element]` for a vector, or a tuple of named fields.

    A record's value is a dict. None is the null string, buffer or vector. A string may be given as bytes, to say
    things that are not UTF-8.
    """
    if isinstance(kind, tuple):
        return b"".join(encode(field, value[name]) for name, field in kind)
    if isinstance(kind, list):
        if value is None:
            return b"\xff\xff\xff\xff"
        return len(value).to_bytes(4, "big") + b"".join(encode(kind[0], element) for element in value)
    if kind in _FIXED:
        return _FIXED[kind].pack(value)
    if kind == "bool":
        return b"\x01" if value else b"\x00"
    if value is None:
        return b"\xff\xff\xff\xff"
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return len(raw).to_bytes(4, "big") + raw


def decode(kind: Any, data: bytes, at: int) -> tuple[Any, int]:
    """The value at `at` and the offset behind it; raises Undecodable where the bytes end or make no sense."""
    if isinstance(kind, tuple):
        record = {}
        for name, field in kind:
            record[name], at = decode(field, data, at)
        return record, at
    if isinstance(kind, str) and kind in _FIXED:
        fixed = _FIXED[kind]
        if at + fixed.size > len(data):
            raise Undecodable(f"{kind} cut off at {at}")
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if kind == "bool":
        if at >= len(data) or data[at] > 1:
            raise Undecodable(f"no boolean at {at}")
        return data[at] == 1, at + 1
    length, at = decode("int", data, at)
    if length == -1:
        return None, at
    if length < 0 or at + length > len(data):
        raise Undecodable(f"length {length} at {at - 4}")
    if isinstance(kind, list):
        elements = []
        for _ in range(length):
            element, at = decode(kind[0], data, at)
            elements.append(element)
        return elements, at
    raw = data[at : at + length]
    if kind == "buffer":
        return raw, at + length
    try:
        return raw.decode("utf-8"), at + length
    except UnicodeDecodeError:
        return raw, at + length  # CESU-8 and worse: compared as bytes


def encode_multi(parts: list[tuple[int, bytes]], end: bool = True) -> bytes:
    """A multi or multiRead body from (opcode, encoded request) pairs; `end=False` leaves the end marker out."""
    body = b"".join(encode(MULTI_HEADER, {"type": op, "done": False, "err": -1}) + part for op, part in parts)
    return body + encode(MULTI_HEADER, {"type": -1, "done": True, "err": -1}) if end else body


def decode_multi(data: bytes, at: int) -> tuple[list[dict[str, Any]], int]:
    """The results of a multi or multiRead reply: header fields and body of each, end marker checked and left out."""
    results: list[dict[str, Any]] = []
    while True:
        header, at = decode(MULTI_HEADER, data, at)
        if header["done"]:
            if (header["type"], header["err"]) != (-1, -1):
                raise Undecodable(f"end marker {header}")
            return results, at
        if header["type"] not in _RESULTS:
            raise Undecodable(f"result type {header['type']}")
        body, at = decode(_RESULTS[header["type"]], data, at)
        results.append({"type": header["type"], "header_err": header["err"], **body})


def decode_reply(op: str | None, frame: bytes) -> dict[str, Any]:
    """A frame that answers `op` (None: an operation without known body), header and body flat in one dict.

    What is left behind the record, or all of the body when it cannot be read, stands under "rest".
    """
    try:
        header, at = decode(REPLY_HEADER, frame, 0)
    except Undecodable:
        return {"rest": frame}
    reply: dict[str, Any] = header
    body_at = at
    try:
        if reply["err"] == 0 and op is not None and at < len(frame):
            if op in ("multi", "multiRead"):
                reply["results"], at = decode_multi(frame, at)
            else:
                body, at = decode(OPERATIONS[op][2], frame, at)
                # addWatch answers with an error code of its own, inside the body
                reply.update({("body_" + k if k in reply else k): v for k, v in body.items()})
    except Undecodable:
        at = body_at
    if at < len(frame):
        reply["rest"] = frame[at:]
    elif reply["err"] == 0 and op is not None and body_at == len(frame) and OPERATIONS[op][2]:
        reply["rest"] = b""  # a body was due and none came
    return reply


def decode_event(frame: bytes) -> dict[str, Any]:
    """A notification frame, header and event flat in one dict; what cannot be read under "rest"."""
    try:
        header, at = decode(REPLY_HEADER, frame, 0)
        event, at = decode(WATCHER_EVENT, frame, at)
    except Undecodable:
        return {"rest": frame}
    result: dict[str, Any] = {"zxid": header["zxid"], "err": header["err"], **event}
    if at < len(frame):
        result["rest"] = frame[at:]
    return result


def decode_connect_response(frame: bytes) -> dict[str, Any]:
    """A handshake's answer; "readOnly" is there only if the server sent it."""
    try:
        record, at = decode(CONNECT_RESPONSE, frame, 0)
        response: dict[str, Any] = record
        if at < len(frame):
            response["readOnly"], at = decode("bool", frame, at)
    except Undecodable:
        return {"rest": frame}
    if at < len(frame):
        response["rest"] = frame[at:]
    return response


def password_of(session_id: int) -> bytes:
    """The 16 bytes every ZooKeeper server derives for this session id (ZooKeeperServer.generatePasswd)."""
    state = ((session_id ^ 0xB3415C00) ^ 0x5DEECE66D) & (2**48 - 1)
    out = b""
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & (2**48 - 1)
        out += (state >> 16).to_bytes(4, "little")
    return out


class NoReply(Exception):
    """The server kept the connection open and said nothing for REPLY_TIMEOUT_S."""


class Wire:
    """One TCP connection that sends bytes and receives frames."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=REPLY_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Sends `data` as it is; a connection the server has already closed shows at the next `frame`."""
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def send_frame(self, payload: bytes) -> None:
        """Sends `payload` behind its length."""
        self.send(len(payload).to_bytes(4, "big") + payload)

    def frame(self) -> bytes | None:
        """The next frame's payload, or None when the server has closed. Raises NoReply."""
        while True:
            buffer = self._buffer
            if len(buffer) >= 4:
                end = 4 + int.from_bytes(buffer[:4], "big")
                if len(buffer) >= end:
                    self._buffer = buffer[end:]
                    return buffer[4:end]
            try:
                more = self._socket.recv(65536)
            except TimeoutError:
                raise NoReply from None
            except OSError:
                return None
            if not more:
                return None
            self._buffer = buffer + more

    def wait(self, seconds: float) -> None:
        """Waits until there is something to read, or so long."""
        if not self._buffer:
            select.select([self._socket], [], [], seconds)

    def is_quiet(self) -> bool:
        """True while nothing has arrived that was not yet taken: no bytes and no close."""
        return not self._buffer and not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        """Closes our side, without closeSession: to the server it looks like a lost client."""
        self._socket.close()
