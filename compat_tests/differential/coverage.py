"""What the programs reached: how often each operation was answered with each error code, and what else was compared.

    operations   operation → code → replies compared; parts of multis and multiReads under "multi:create" and so on
    multis       (length, place of the failing part, its operation, its code) → multis compared
    handshakes   (what was asked, what came of it) → handshakes compared
    events       (event type, live or catch-up) → events compared

REACHABLE says which pairs a standalone Apache can produce, PLAIN_ONLY and EXTENDED_ONLY which of them need the one or
the other configuration. A pair that is missing from the figures was never compared, so nothing is known of it: then the
generator has to be aimed at it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from typing import Any

from .programs import Open, Program, Request, Turn
from .runner import Heard, Recording

OK = 0
RUNTIME_INCONSISTENCY = -2
MARSHALLING_ERROR = -5
UNIMPLEMENTED = -6
BAD_ARGUMENTS = -8
NO_NODE = -101
NO_AUTH = -102
BAD_VERSION = -103
NO_CHILDREN_FOR_EPHEMERALS = -108
NODE_EXISTS = -110
NOT_EMPTY = -111
INVALID_ACL = -114
AUTH_FAILED = -115
NO_WATCHER = -121
RECONFIG_DISABLED = -123
QUOTA_EXCEEDED = -125

NAMES = {
    OK: "ok",
    RUNTIME_INCONSISTENCY: "after",
    MARSHALLING_ERROR: "marshal",
    UNIMPLEMENTED: "unimpl",
    BAD_ARGUMENTS: "badargs",
    NO_NODE: "nonode",
    NO_AUTH: "noauth",
    BAD_VERSION: "version",
    NO_CHILDREN_FOR_EPHEMERALS: "ephparent",
    NODE_EXISTS: "exists",
    NOT_EMPTY: "notempty",
    INVALID_ACL: "badacl",
    AUTH_FAILED: "authfail",
    NO_WATCHER: "nowatcher",
    RECONFIG_DISABLED: "reconfoff",
    QUOTA_EXCEEDED: "quota",
}

_CREATE = (
    *(OK, BAD_ARGUMENTS, NO_NODE, NO_AUTH, NO_CHILDREN_FOR_EPHEMERALS, NODE_EXISTS, INVALID_ACL, QUOTA_EXCEEDED),
    *(MARSHALLING_ERROR, UNIMPLEMENTED),
)
_READ = (OK, NO_NODE, NO_AUTH, MARSHALLING_ERROR)
_PART = (RUNTIME_INCONSISTENCY,)
#: operation → the codes that a standalone Apache can answer it with.
REACHABLE: dict[str, tuple[int, ...]] = {
    "create": _CREATE,
    "create2": _CREATE,
    "createContainer": _CREATE,
    "createTTL": _CREATE,
    "delete": (OK, BAD_ARGUMENTS, NO_NODE, NO_AUTH, BAD_VERSION, NOT_EMPTY, MARSHALLING_ERROR),
    "setData": (OK, BAD_ARGUMENTS, NO_NODE, NO_AUTH, BAD_VERSION, QUOTA_EXCEEDED, MARSHALLING_ERROR),
    "setACL": (OK, BAD_ARGUMENTS, INVALID_ACL, NO_NODE, NO_AUTH, BAD_VERSION, MARSHALLING_ERROR),
    "exists": (*_READ, BAD_ARGUMENTS),
    "getData": _READ,
    "getACL": _READ,
    "getChildren": _READ,
    "getChildren2": _READ,
    "getAllChildrenNumber": _READ,
    "getEphemerals": (OK, MARSHALLING_ERROR),
    "sync": (OK, MARSHALLING_ERROR),
    "check": (UNIMPLEMENTED,),
    "multi": (OK, MARSHALLING_ERROR),
    "multi:create": (*_CREATE[:7], QUOTA_EXCEEDED, *_PART),
    "multi:create2": (*_CREATE[:7], QUOTA_EXCEEDED, *_PART),
    "multi:createContainer": (*_CREATE[:7], QUOTA_EXCEEDED, *_PART),
    "multi:createTTL": (*_CREATE[:7], QUOTA_EXCEEDED, UNIMPLEMENTED, *_PART),
    "multi:delete": (OK, BAD_ARGUMENTS, NO_NODE, NO_AUTH, BAD_VERSION, NOT_EMPTY, *_PART),
    "multi:setData": (OK, BAD_ARGUMENTS, NO_NODE, NO_AUTH, BAD_VERSION, QUOTA_EXCEEDED, *_PART),
    "multi:check": (OK, BAD_ARGUMENTS, NO_NODE, NO_AUTH, BAD_VERSION, *_PART),
    "multiRead": (OK, MARSHALLING_ERROR),
    "multiRead:getData": (OK, NO_NODE, NO_AUTH),
    "multiRead:getChildren": (OK, NO_NODE, NO_AUTH),
    "setWatches": (OK, MARSHALLING_ERROR),
    "setWatches2": (OK, MARSHALLING_ERROR),
    "addWatch": (OK, MARSHALLING_ERROR),
    "checkWatches": (OK, NO_WATCHER, MARSHALLING_ERROR),
    "removeWatches": (OK, NO_WATCHER, MARSHALLING_ERROR),
    "auth": (OK, AUTH_FAILED),
    "sasl": (OK,),
    "whoAmI": (OK,),
    "reconfig": (RECONFIG_DISABLED, UNIMPLEMENTED, MARSHALLING_ERROR),
    "ping": (OK,),
    "closeSession": (OK,),
    "unknown": (UNIMPLEMENTED,),
}

_TTL_CREATES = ("createTTL", "multi:createTTL")
_BEFORE_TTL = (UNIMPLEMENTED, MARSHALLING_ERROR, BAD_ARGUMENTS)
#: Answers of servers without TTL nodes, quotas and reconfiguration, and of those with them.
PLAIN_ONLY = frozenset(
    (
        *((operation, UNIMPLEMENTED) for operation in (*_TTL_CREATES, "create", "create2", "createContainer")),
        ("reconfig", RECONFIG_DISABLED),
    )
)
EXTENDED_ONLY = frozenset(
    (
        *((operation, code) for operation in _TTL_CREATES for code in _CREATE if code not in _BEFORE_TTL),
        *((operation, QUOTA_EXCEEDED) for operation in REACHABLE),
        *(("multi:createTTL", BAD_ARGUMENTS), ("reconfig", UNIMPLEMENTED)),
    )
)

_EVENT_NAMES = {1: "created", 2: "deleted", 3: "data changed", 4: "children changed"}


class Coverage:
    """The figures, added up over recordings of programs."""

    def __init__(self) -> None:
        self.operations: dict[str, Counter[int]] = {}
        self.multis: Counter[tuple[int, int, str, int]] = Counter()
        self.handshakes: Counter[tuple[str, str]] = Counter()
        self.events: Counter[tuple[str, str]] = Counter()

    def add(self, program: Program, recording: Recording) -> None:
        """Count what was heard in one run of `program`."""
        turns = {turn.id: turn for turn in program.turns}
        for turn_id, by_conn in recording.heard:
            for frames in by_conn.values():
                self._count_events(frames)
            turn = turns.get(turn_id)
            if turn is None:
                continue
            heard = by_conn.get(turn.conn, [])
            if isinstance(turn, Open):
                self.handshakes[_asked(turn), _became(heard)] += 1
            replies = (one for one in heard if one.kind == "reply")
            for request, reply in zip(turn.requests, replies, strict=False):
                self._count_reply(request, reply.fields)

    def merge(self, other: Coverage) -> None:
        """Add another's figures to these."""
        for operation, codes in other.operations.items():
            self.operations.setdefault(operation, Counter()).update(codes)
        self.multis.update(other.multis)
        self.handshakes.update(other.handshakes)
        self.events.update(other.events)

    def missing(self, beyond: Container[tuple[str, int]] = ()) -> list[tuple[str, int]]:
        """The pairs of REACHABLE, but for those in `beyond`, that were never compared."""
        return [
            (operation, code)
            for operation, codes in REACHABLE.items()
            for code in codes
            if (operation, code) not in beyond and not self.operations.get(operation, Counter())[code]
        ]

    def _count_events(self, frames: Iterable[Heard]) -> None:
        for one in frames:
            if one.kind == "event":
                fields = one.fields
                name = _EVENT_NAMES.get(fields.get("type", 0), "?")
                self.events[name, "catch-up" if fields.get("zxid") == -1 else "live"] += 1

    def _count_reply(self, request: Request, fields: dict[str, Any]) -> None:
        code = fields.get("err")
        if code is None:
            return
        self.operations.setdefault(request.op, Counter())[code] += 1
        results = fields.get("results")
        if results is None or len(results) != len(request.parts):
            return
        for at, (part, result) in enumerate(zip(request.parts, results, strict=True)):
            code = result.get("err", OK)
            if result["type"] == -1 and code == OK:
                continue  # it stands before the part that failed: it was rolled back
            self.operations.setdefault(f"{request.op}:{part.op}", Counter())[code] += 1
            if request.op == "multi" and code not in (OK, RUNTIME_INCONSISTENCY):
                self.multis[len(results), at, part.op, code] += 1

    # --- the figures as text -----------------------------------------------------------------------------------

    def table(self) -> str:
        """All figures: operations by code first; a `.` stands where Apache gives no such answer, `0` for a gap."""
        seen = {code for codes in self.operations.values() for code in codes}
        codes = sorted(seen | {code for reachable in REACHABLE.values() for code in reachable}, reverse=True)
        rows = [["", *(NAMES.get(code, "?") for code in codes)], ["", *map(str, codes)]]
        for operation in dict.fromkeys((*REACHABLE, *self.operations)):
            counted = self.operations.get(operation, Counter())
            reachable = REACHABLE.get(operation, ())
            rows.append(
                [operation, *(str(counted[code]) if counted[code] or code in reachable else "." for code in codes)]
            )
        lines = _columns(rows)
        lines.append("\nmultis by place of the failing part:")
        for length in sorted({key[0] for key in self.multis}):
            at = Counter[int]()
            for (size, place, _, _), count in self.multis.items():
                at[place] += count if size == length else 0
            lines.append(f"  of {length}: " + ", ".join(f"{place + 1}. {at[place]}" for place in range(length)))
        lines.append("\nhandshakes:")
        lines += [f"  {asked} -> {became}: {count}" for (asked, became), count in sorted(self.handshakes.items())]
        lines.append("\nevents:")
        lines += [f"  {kind}, {how}: {count}" for (kind, how), count in sorted(self.events.items())]
        return "\n".join(lines)


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        row[0].ljust(widths[0])
        + "".join(f" {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]


def _asked(turn: Turn) -> str:
    assert isinstance(turn, Open)
    said = "new session" if turn.session is None else f"attach, {turn.password} password"
    if turn.last_zxid is not None and turn.last_zxid.plus > 0:
        said += ", ahead of the server"
    if turn.cut is not None:
        said += ", cut"
    return said + {None: ", no readOnly", False: "", True: ", readOnly"}[turn.read_only]


def _became(heard: list[Heard]) -> str:
    first = heard[0] if heard else None
    if first is None or first.kind != "connected":
        return first.kind if first is not None else "nothing"
    return "attached" if first.fields.get("sessionId") else "refused"
