"""What several clients say to one server, turn by turn: the values, and how they read as a story.

A turn is one connection's doing: a handshake, a batch of requests in one segment, raw bytes, a lost client. Each
program lives below a root of its own, written `~` here and filled in by the runner. `generator.py` makes programs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .wire import OPCODES


class ZxidAt(NamedTuple):
    """The newest zxid any reply showed by the end of the turn with this id, and something on top."""

    turn: int
    plus: int = 0


@dataclass(frozen=True)
class Request:
    """One request as it goes out: `cut` shortens the body, `tail` stands behind it, `parts` are a multi's,
    `pad_to` grows the data field until the frame has that many bytes."""

    op: str
    opcode: int
    xid: int
    fields: dict[str, Any] = field(default_factory=dict)
    parts: tuple[Request, ...] = ()
    end_marker: bool = True
    cut: int | None = None
    tail: bytes = b""
    pad_to: int | None = None

    def __str__(self) -> str:
        said = [f"{k}={_short(v)}" for k, v in self.fields.items()]
        said += [f"\n      [{part}]" for part in self.parts]
        if not self.end_marker:
            said.append("(no end marker)")
        if self.cut is not None:
            said.append(f"(body cut to {self.cut} bytes)")
        if self.tail:
            said.append(f"(tail {self.tail!r})")
        if self.pad_to is not None:
            said.append(f"(data grown for a frame of {self.pad_to} bytes)")
        name = self.op if OPCODES.get(self.op) == self.opcode else f"{self.op}#{self.opcode}"
        return f"{name} {' '.join(said)} xid={self.xid}"


@dataclass(frozen=True)
class Turn:
    """What one connection does; `id` stays the same when a program is shrunk, `closes`: the server is to hang up."""

    id: int
    conn: int
    requests: tuple[Request, ...] = ()
    closes: bool = False


@dataclass(frozen=True)
class Open(Turn):
    """A new TCP connection and its handshake; `session` None asks for a new session, else names the connection whose
    handshake made it. The requests follow in the same segment."""

    session: int | None = None
    password: str = "right"  # or "wrong", "none" (null), "short", "strange" (right for another id, which is said too)
    timeout: int = 30000
    read_only: bool | None = False
    last_zxid: ZxidAt | None = None
    protocol: int = 0
    cut: int | None = None  # the handshake ends after so many bytes
    tail: bytes = b""  # and these stand behind it


@dataclass(frozen=True)
class Raw(Turn):
    """Bytes that are no request, on a connection past its handshake."""

    data: bytes = b""


@dataclass(frozen=True)
class Drop(Turn):
    """The client is gone: the socket closes without closeSession."""


@dataclass(frozen=True)
class Program:
    """`steps` counts requests and other turns; `seed` is None for what no dice made.

    Connection 0 is open and the root made before the first turn.
    """

    seed: int | None
    turns: tuple[Turn, ...]
    notes: str = ""

    @property
    def name(self) -> str:
        """What to call it: by its seed, or by its notes where it has none."""
        return f"seed {self.seed}" if self.seed is not None else self.notes

    @property
    def steps(self) -> int:
        return sum(max(1, len(turn.requests)) for turn in self.turns)


def _short(value: Any) -> str:
    if isinstance(value, list | tuple) and not isinstance(value, ZxidAt) and value and isinstance(value[0], dict):
        return "[" + ", ".join(f"{e['perms']}:{e['id']['scheme']}:{e['id']['id']}" for e in value) + "]"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:60]}...({len(text)} long)"


def describe(turn: Turn) -> str:
    """The turn as lines of a story."""
    said = "".join(f"\n    {request}" for request in turn.requests)
    if isinstance(turn, Open):
        whose = "new session" if turn.session is None else f"session of c{turn.session} ({turn.password} password)"
        more = "" if turn.last_zxid is None else f", lastZxidSeen={turn.last_zxid}"
        more += "" if turn.cut is None else f", handshake cut to {turn.cut} bytes"
        more += f", tail {turn.tail!r}" if turn.tail else ""
        return f"c{turn.conn} connects: {whose}, timeout={turn.timeout}, readOnly={turn.read_only}{more}{said}"
    if isinstance(turn, Raw):
        return f"c{turn.conn} sends raw {turn.data!r}"
    if isinstance(turn, Drop):
        return f"c{turn.conn} drops its socket"
    return f"c{turn.conn} sends{said}"
