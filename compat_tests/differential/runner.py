"""Runs one program on one server and writes down everything the server said.

The picture of a turn: the acting connection sends its bytes in one segment and waits for as many replies as it made
requests, or for the close. Then every other connection that ever set a watch sends a ping and reads up to the answer:
what the turn caused stands in front of it. So each frame belongs to exactly one turn, and no race is recorded.

Nothing is judged or smoothed here; that is compare.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from .pools import OPEN_ACL
from .programs import Drop, Open, Program, Raw, Request, Turn, ZxidAt
from .wire import (
    CONNECT_REQUEST,
    NOTIFICATION_XID,
    OPCODES,
    OPERATIONS,
    PING_XID,
    REQUEST_HEADER,
    WRITES,
    NoReply,
    Wire,
    decode_connect_response,
    decode_event,
    decode_reply,
    encode,
    encode_multi,
    password_of,
)

_WATCHING = frozenset(("exists", "getData", "getChildren", "getChildren2", "setWatches", "setWatches2", "addWatch"))

# Ids of the turns the runner adds around a program.
SETUP_TURN = -1
END_TURN = 1_000_000


@dataclass(frozen=True)
class Heard:
    """One thing a connection heard: kind is "reply", "event", "connected", "closed", "silence", "refused" (no
    TCP connection) or "skipped" (no such connection any more)."""

    kind: str
    op: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    # The request was cut short, so that a server cannot have decoded it.
    mangled: bool = False


@dataclass
class Recording:
    """What one server did with one program; `heard` holds, per turn in order, its id and each connection's list."""

    root: str
    base_zxid: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    sessions: dict[int, int] = field(default_factory=dict)  # session id → the connection that made it
    heard: list[tuple[int, dict[int, list[Heard]]]] = field(default_factory=list)


class _Client:
    """One connection of the running program."""

    def __init__(self, wire: Wire, session: int) -> None:
        self.wire = wire
        self.session = session
        self.watching = False


def encode_body(request: Request, root: str, zxids: dict[int, int]) -> bytes:
    """The request's bytes behind its header, with root and zxids filled in, cut and lengthened as it asks."""
    if request.op in ("multi", "multiRead"):
        parts = [(part.opcode, encode_body(part, root, zxids)) for part in request.parts]
        body = encode_multi(parts, request.end_marker)
    elif request.op in OPERATIONS:
        body = encode(OPERATIONS[request.op][1], {k: fill(v, root, zxids) for k, v in request.fields.items()})
    else:
        body = b""
    if request.cut is not None:
        body = body[: request.cut]
    return body + request.tail


def fill(value: Any, root: str, zxids: dict[int, int]) -> Any:
    """`value` with `~` in paths replaced by the root, and ZxidAt by what this server has shown at that turn."""
    if isinstance(value, ZxidAt):
        shown = [zxid for turn, zxid in zxids.items() if turn <= value.turn]
        return max(shown, default=zxids[SETUP_TURN]) + value.plus
    if isinstance(value, str):
        return value.replace("~", root)
    if isinstance(value, bytes) and value.startswith(b"~/"):
        return value.replace(b"~", root.encode())
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        return [fill(element, root, zxids) for element in value]
    return value


class _Run:
    """One program on its way through one server."""

    def __init__(self, host: str, port: int, root: str) -> None:
        self.host, self.port, self.root = host, port, root
        self.recording = Recording(root)
        self.clients: dict[int, _Client] = {}
        self.secrets: dict[int, tuple[int, bytes]] = {}  # connection that made a session → its id and password
        self.ended: set[int] = set()
        self.zxids: dict[int, int] = {}  # turn → newest zxid shown by then
        self.newest = 0
        self.now: dict[int, list[Heard]] = {}

    # One turn.

    def perform(self, turn: Turn) -> None:
        self.now = {}
        self.recording.heard.append((turn.id, self.now))
        if isinstance(turn, Open):
            self.open(turn)
        elif turn.conn not in self.clients:
            self.note(turn.conn, Heard("skipped"))
        elif isinstance(turn, Drop):
            self.clients.pop(turn.conn).wire.close()
        elif isinstance(turn, Raw):
            self.clients[turn.conn].wire.send(turn.data)
            self.expect_close(turn.conn)
        else:
            self.clients[turn.conn].wire.send(self.segment(turn.requests))
            self.answers(turn)
        if any(request.op in WRITES for request in turn.requests):
            self.drain(turn.conn)
        self.zxids[turn.id] = self.newest

    def note(self, conn: int, heard: Heard) -> None:
        self.now.setdefault(conn, []).append(heard)

    def segment(self, requests: tuple[Request, ...]) -> bytes:
        out = bytearray()
        for request in requests:
            header = encode(REQUEST_HEADER, {"xid": request.xid, "type": request.opcode})
            frame = header + encode_body(request, self.root, self.zxids)
            if request.pad_to is not None:
                grown = replace(request, fields={**request.fields, "data": b"z" * (request.pad_to - len(frame))})
                frame = header + encode_body(grown, self.root, self.zxids)
            out += len(frame).to_bytes(4, "big") + frame
        return bytes(out)

    def answers(self, turn: Turn) -> None:
        """Reads one reply per request, or up to the close."""
        client = self.clients[turn.conn]
        client.watching |= any(request.op in _WATCHING for request in turn.requests)
        for request in turn.requests:
            if not self.until_reply(turn.conn, request):
                return
        for request in turn.requests:
            if request.op == "closeSession":
                self.ended.add(client.session)
        if turn.closes:
            self.expect_close(turn.conn)

    def until_reply(self, conn: int, request: Request) -> bool:
        """Notes events, then the reply; False if the connection went instead, or said nothing."""
        while True:
            frame = self.frame(conn)
            if frame is None:
                return False
            if int.from_bytes(frame[:4], "big", signed=True) == NOTIFICATION_XID:
                self.note(conn, Heard("event", fields=decode_event(frame)))
                continue
            known = request.op if request.op in OPERATIONS else None
            reply = decode_reply(known, frame)
            self.newest = max(self.newest, reply.get("zxid", 0))
            self.note(conn, Heard("reply", request.op, reply, mangled=request.cut is not None))
            return True

    def frame(self, conn: int) -> bytes | None:
        """The next frame; None, noted, if there is none to come."""
        try:
            frame = self.clients[conn].wire.frame()
        except NoReply:
            frame = None
            self.note(conn, Heard("silence"))
        else:
            if frame is not None:
                return frame
            self.note(conn, Heard("closed"))
        # After a silence too: a late reply would be taken for the answer to something else.
        self.clients.pop(conn).wire.close()
        return None

    def expect_close(self, conn: int) -> None:
        """Reads on to the close. What comes before it is noted as it is; so is a server that does not close."""
        while conn in self.clients:
            frame = self.frame(conn)
            if frame is None:
                return
            if int.from_bytes(frame[:4], "big", signed=True) == NOTIFICATION_XID:
                self.note(conn, Heard("event", fields=decode_event(frame)))
            else:
                self.note(conn, Heard("reply", "?", {"rest": frame}))

    def drain(self, actor: int) -> None:
        """Has every other watching connection read what the turn caused: a ping's answer stands behind it."""
        ping = Request("ping", OPCODES["ping"], PING_XID)
        others = [conn for conn, client in self.clients.items() if client.watching and conn != actor]
        for conn in others:
            self.clients[conn].wire.send(self.segment((ping,)))
        for conn in others:
            self.until_reply(conn, ping)

    # Handshakes.

    def open(self, turn: Open) -> None:
        session_id, password = 0, b"\0" * 16
        if turn.session is not None:
            if turn.session not in self.secrets:
                self.note(turn.conn, Heard("skipped"))
                return
            session_id, password = self.secrets[turn.session]
        if turn.password == "strange":
            session_id ^= 1 << 40
            password = password_of(session_id)
        chosen = {"wrong": b"\x55" * 16, "none": None, "short": b"abc"}.get(turn.password, password)
        hello = encode(
            CONNECT_REQUEST,
            {
                "protocolVersion": turn.protocol,
                "lastZxidSeen": 0 if turn.last_zxid is None else fill(turn.last_zxid, self.root, self.zxids),
                "timeOut": turn.timeout,
                "sessionId": session_id,
                "passwd": chosen,
            },
        )
        if turn.read_only is not None:
            hello += encode("bool", turn.read_only)
        hello = hello[: turn.cut] + turn.tail
        try:
            wire = Wire(self.host, self.port)
        except OSError:
            self.note(turn.conn, Heard("refused"))
            return
        client = self.clients[turn.conn] = _Client(wire, turn.conn if turn.session is None else turn.session)
        wire.send(len(hello).to_bytes(4, "big") + hello + self.segment(turn.requests))
        frame = self.frame(turn.conn)
        if frame is None:
            return
        response = decode_connect_response(frame)
        self.note(turn.conn, Heard("connected", fields=response))
        if response.get("sessionId") and turn.session is None:
            self.secrets[turn.conn] = response["sessionId"], response["passwd"]
            self.recording.sessions[response["sessionId"]] = turn.conn
        if turn.session is not None and turn.password != "strange":
            self.expect_kicked(turn.conn, client.session)
        if turn.closes:
            self.expect_close(turn.conn)
        else:
            self.answers(turn)

    def expect_kicked(self, newcomer: int, session: int) -> None:
        """A handshake that names a session costs its older connection the socket, whatever the password was."""
        for conn in [c for c, client in self.clients.items() if client.session == session and c != newcomer]:
            self.expect_close(conn)

    # The whole.

    def all(self, program: Program) -> Recording:
        recording = self.recording
        recording.started_ms = int(time.time() * 1000)
        root = {"path": "~", "data": b"root", "acl": list(OPEN_ACL), "flags": 0}
        self.zxids[SETUP_TURN] = 0
        self.perform(Open(SETUP_TURN, 0, (Request("create", OPCODES["create"], 1, root),)))
        recording.base_zxid = self.newest
        for turn in program.turns:
            self.perform(turn)
        self.finish()
        recording.ended_ms = int(time.time() * 1000)
        return recording

    def finish(self) -> None:
        """Closes every session, so that none expires into a later program."""
        bye = (Request("closeSession", OPCODES["closeSession"], 2_000_000),)
        for at, made_by in enumerate(list(self.secrets)):
            if made_by in self.ended:
                continue
            turn_id = END_TURN + 2 * at
            holder = next((conn for conn, client in self.clients.items() if client.session == made_by), None)
            if holder is None:
                holder = END_TURN + at
                self.perform(Open(turn_id, holder, session=made_by))
            if holder in self.clients:
                self.perform(Turn(turn_id + 1, holder, bye, closes=True))
        for client in self.clients.values():
            client.wire.close()


def run(program: Program, host: str, port: int, root: str) -> Recording:
    """Runs `program` below the new node `root` and returns all that was heard."""
    return _Run(host, port, root).all(program)
