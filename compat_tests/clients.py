"""A client of few words for the tests that watch both servers do one thing: what it hears, decoded.

It speaks through the codec of the differential test, which shares nothing with the server's.
"""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Any

from compat_tests.differential.pools import OPEN_ACL
from compat_tests.differential.wire import (
    CONNECT_REQUEST,
    NOTIFICATION_XID,
    OPERATIONS,
    REQUEST_HEADER,
    NoReply,
    Wire,
    decode_connect_response,
    decode_event,
    decode_reply,
    encode,
)

#: For what comes by itself: an expiry, a reaping. Far beyond what any test waits for.
PATIENCE_S = 60.0


class Client:
    """One connection and its session. `events` holds what was heard and not yet taken, oldest first."""

    def __init__(
        self,
        port: int,
        timeout_ms: int = 30_000,
        session: tuple[int, bytes] | None = None,
        ip: str = "127.0.0.1",
        *,
        read_only: bool = False,
    ) -> None:
        """Shakes hands, for a new session or for `session`, an id and a password. `welcome` is {} if it is closed.

        `read_only`: a server without a leader will do.
        """
        self.wire = Wire(ip, port)
        session_id, password = session or (0, bytes(16))
        asked = {
            "protocolVersion": 0,
            "lastZxidSeen": 0,
            "timeOut": timeout_ms,
            "sessionId": session_id,
            "passwd": password,
        }
        self.wire.send_frame(encode(CONNECT_REQUEST, asked) + bytes([read_only]))
        frame = self.wire.frame()
        self.welcome: dict[str, Any] = decode_connect_response(frame) if frame is not None else {}
        self.events: list[dict[str, Any]] = []
        self._xid = 0

    @property
    def session(self) -> tuple[int, bytes]:
        """What a second connection needs to attach to the session."""
        return self.welcome["sessionId"], self.welcome["passwd"]

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        """One request and its reply; {} if the server closes instead."""
        self._xid += 1
        self._send(op, fields)
        while True:
            frame = self.wire.frame()
            if frame is None:
                return {}
            if int.from_bytes(frame[:4], "big", signed=True) != NOTIFICATION_XID:
                return decode_reply(op, frame)
            self.events.append(decode_event(frame))

    def create(self, path: str, flags: int = 0, op: str = "create2", **fields: Any) -> dict[str, Any]:
        """A create with an open ACL and no data, unless `fields` say otherwise."""
        return self.call(op, **{"path": path, "data": b"", "acl": list(OPEN_ACL), "flags": flags, **fields})

    def set(self, path: str, data: bytes = b"") -> dict[str, Any]:
        """A setData of any version."""
        return self.call("setData", path=path, data=data, version=-1)

    def event(self) -> dict[str, Any]:
        """The next event, however long it takes within PATIENCE_S; {} if the server closes instead."""
        if self.events:
            return self.events.pop(0)
        self.wire.wait(PATIENCE_S)
        frame = self.wire.frame()
        return decode_event(frame) if frame is not None else {}

    def is_closed(self) -> bool:
        """Waits, within PATIENCE_S, for the server to close without a word; False if it says something."""
        self.wire.wait(PATIENCE_S)
        try:
            return self.wire.frame() is None
        except NoReply:
            return False

    def close(self) -> None:
        """The client is gone; its session stays."""
        self.wire.close()

    def _send(self, op: str, fields: dict[str, Any]) -> None:
        opcode, kinds, _ = OPERATIONS[op]
        xid = {"ping": -2, "auth": -4}.get(op, self._xid)
        self.wire.send_frame(encode(REQUEST_HEADER, {"xid": xid, "type": opcode}) + encode(kinds, fields))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def word(port: int, said: bytes) -> str:
    """What the server answers to a four-letter word, up to its close."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.sendall(said)
        while data := sock.recv(65536):
            answer += data
    return answer.decode()


def await_connections(port: int, expected: int) -> None:
    """Wait, within PATIENCE_S, until the server has this many connections besides the one that asks."""
    deadline = time.monotonic() + PATIENCE_S
    while (count := word(port, b"cons").count("(queued=") - 1) != expected:
        assert time.monotonic() < deadline, f"the server has {count} connections, not {expected}"
        time.sleep(0.01)
