"""A blocking client: one session on one connection, mostly one request at a time, every answer checked."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from compat_tests.differential.pools import OPEN_ACL, SUPER
from compat_tests.differential.wire import (
    CONNECT_REQUEST,
    NOTIFICATION_XID,
    OPCODES,
    OPERATIONS,
    REQUEST_HEADER,
    NoReply,
    Wire,
    decode_connect_response,
    decode_reply,
    encode,
    encode_multi,
)
from compat_tests.peers import Server

#: No answer takes longer unless something hangs: the machine may be busy with other things.
ANSWER_S = 60.0
LONG_MS = 60_000

PERSISTENT, EPHEMERAL, SEQUENCE, EPHEMERAL_SEQUENCE, CONTAINER, TTL, TTL_SEQUENCE = range(7)

_DEFAULTS: dict[str, Any] = {"data": b"", "acl": list(OPEN_ACL), "flags": PERSISTENT, "version": -1, "watch": False}


class Refused(Exception):
    """The server does not know the session, or not with this password."""


class Client:
    """One connection with a session, new or known; a context manager that closes the session."""

    def __init__(
        self, server: Server, *, timeout_ms: int = LONG_MS, session: int = 0, password: bytes = bytes(16)
    ) -> None:
        """Connect. Raises Refused if the server does not take the session up again."""
        self._wire = Wire(server.host, server.port)
        self._xid = 0
        hello = {"protocolVersion": 0, "lastZxidSeen": 0, "timeOut": timeout_ms}
        self._wire.send_frame(encode(CONNECT_REQUEST, {**hello, "sessionId": session, "passwd": password}) + b"\0")
        answer = decode_connect_response(self._frame())
        if answer["timeOut"] <= 0 or (session and answer["sessionId"] != session):
            self._wire.close()
            raise Refused(f"session {session:#x}: {answer}")
        self.session: int = answer["sessionId"]
        self.password: bytes = answer["passwd"]
        self.timeout_ms: int = answer["timeOut"]

    def say(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one request; its reply, whatever it says. What `fields` leave out is what one would expect."""
        return self._exchange(op, _body(op, fields))

    def send(self, op: str, **fields: Any) -> None:
        """Send one request and do not wait for its reply. Who asks again takes it for the wrong one."""
        self._xid += 1
        self._wire.send_frame(encode(REQUEST_HEADER, {"xid": self._xid, "type": OPCODES[op]}) + _body(op, fields))

    def do(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one request that must succeed."""
        reply = self.say(op, **fields)
        assert reply["err"] == 0, (op, fields, reply)
        return reply

    def do_all(self, *requests: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Send requests that must succeed, all at once: few enough that the server need not wait for us to read."""
        first = self._xid + 1
        for op, fields in requests:
            self.send(op, **fields)
        replies = [self._reply(op, xid) for xid, (op, _) in enumerate(requests, first)]
        for request, reply in zip(requests, replies, strict=True):
            assert reply["err"] == 0, (request, reply)
        return replies

    def fail(self, err: int, op: str, **fields: Any) -> None:
        """Send one request that must fail with this code."""
        reply = self.say(op, **fields)
        assert reply["err"] == err, (op, fields, reply)

    def multi(self, *parts: tuple[str, dict[str, Any]], err: int = 0) -> list[dict[str, Any]]:
        """Send a multi and give its results; `err` is the first error among them, 0 for none."""
        body = encode_multi([(OPCODES[op], _body(op, fields)) for op, fields in parts])
        results: list[dict[str, Any]] = self._exchange("multi", body)["results"]
        errors = [result["err"] for result in results if result.get("err", 0)]
        assert (errors[:1] or [0]) == [err], (parts, results)
        return results

    def has(self, path: str) -> bool:
        """Is the node there? Spends no xid, so that asking again and again leaves no trace."""
        return bool(self._exchange("exists", _body("exists", {"path": path}), xid=0)["err"] == 0)

    def become_super(self) -> None:
        """Pass every ACL from now on."""
        self.authenticate(SUPER)

    def authenticate(self, user: str) -> None:
        """Add a digest identity, given as name:password."""
        body = encode(OPERATIONS["auth"][1], {"type": 0, "scheme": "digest", "auth": user.encode()})
        assert self._exchange("auth", body, xid=-4)["err"] == 0

    def close(self) -> None:
        """End the session, and wait until that is done."""
        self.do("closeSession")
        self._wire.close()

    def leave(self) -> None:
        """Drop the connection, leaving the session open."""
        self._wire.close()

    def _exchange(self, op: str, body: bytes, xid: int | None = None) -> dict[str, Any]:
        if xid is None:
            self._xid += 1
            xid = self._xid
        self._wire.send_frame(encode(REQUEST_HEADER, {"xid": xid, "type": OPCODES[op]}) + body)
        return self._reply(op, xid)

    def _reply(self, op: str, xid: int) -> dict[str, Any]:
        while True:
            reply = decode_reply(op, self._frame())
            if reply["xid"] != NOTIFICATION_XID:
                assert reply["xid"] == xid, (op, reply)
                return reply

    def _frame(self) -> bytes:
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                frame = self._wire.frame()
            except NoReply:
                if time.monotonic() > deadline:
                    raise
                continue
            if frame is None:
                raise EOFError("the server has hung up")
            return frame

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.leave()


def _body(op: str, fields: dict[str, Any]) -> bytes:
    kinds = OPERATIONS[op][1]
    defaults = {name: _DEFAULTS[name] for name, _ in kinds if name in _DEFAULTS}
    if op in ("createContainer", "createTTL"):
        defaults["flags"] = CONTAINER if op == "createContainer" else TTL
    return encode(kinds, {**defaults, **fields})
