"""Two recordings of one program: what a server may choose is taken out, and the rest must be equal, field by field.

What is taken out, and what of it is still checked:
  zxid         relative to the program's root; older ones are "old" (0 and -1 stay)
  time         "t" if every sight of one zxid shows one time, within the program's run; the whole run's times must not
               go back as zxids grow
  session id   the connection that made it, as in "s0"; its password must be the one derived from it
  root         `~`
  order        of children, ephemerals and whoAmI ids: sorted. Of neighbouring digest entries with equal perms in an ACL
               (the expansion of "auth" follows a hash table) and of the events of one closeSession: sorted
  error body   what stands behind a header with an error is left out: Apache sends the half-made answer of a multiRead
               it gave up, and no client looks at it
Everything else, the order of frames on each connection included, stays as it was heard.

One deviation is allowed by default: for a write whose body was cut short Apache logs the last zxid a second time; a
server may use up a new one instead (`exact_zxids=True` forbids it).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from .runner import END_TURN, SETUP_TURN, Heard, Recording
from .wire import WRITES, password_of

MARSHALLING_ERROR = -5
# Two clocks are read on one machine; txn times are taken a little before or after ours.
_CLOCK_SLACK_MS = 2000
_ZXID_NAMES = frozenset(("zxid", "czxid", "mzxid", "pzxid"))
_SORTED_NAMES = frozenset(("children", "ephemerals"))
_STAT_TIMES = (("ctime", "czxid"), ("mtime", "mzxid"))

Canonical = tuple[int, dict[int, list[tuple[str, str, dict[str, Any]]]]]


@dataclass(frozen=True)
class Difference:
    """The first place where two recordings part: turn, connection, position, and what each side heard there."""

    turn: int
    conn: int
    position: int
    left: Any
    right: Any
    fields: tuple[str, ...]

    @property
    def signature(self) -> tuple[Any, ...]:
        """What kind of difference this is, whatever the paths: equal signatures have, most likely, one cause."""

        def face(heard: Any) -> tuple[Any, ...]:
            return ("nothing",) if heard is None else (heard[0], heard[1], heard[2].get("err"))

        return face(self.left), face(self.right), self.fields


class _Canon:
    """One recording's way to canonical form; turns must come in order, for zxids and times are learned on the way."""

    def __init__(self, recording: Recording, exact_zxids: bool) -> None:
        self.recording = recording
        self.exact_zxids = exact_zxids
        self.newest = 0
        self.extra: list[int] = []  # raw zxids a server used up for writes it could not decode
        self.times: dict[int, int] = {}

    def turns(self) -> list[Canonical]:
        return [
            (turn, {conn: self.frames(heard) for conn, heard in by_conn.items()})
            for turn, by_conn in self.recording.heard
        ]

    def frames(self, heard: list[Heard]) -> list[tuple[str, str, dict[str, Any]]]:
        return [self.one(entry) for entry in heard]

    def one(self, heard: Heard) -> tuple[str, str, dict[str, Any]]:
        fields = heard.fields
        if heard.kind == "connected":
            return heard.kind, heard.op, self.handshake(fields)
        if heard.kind == "reply":
            self.learn(heard)
            if fields.get("err"):
                fields = {name: value for name, value in fields.items() if name != "rest"}
        return heard.kind, heard.op, {name: self.value(name, value) for name, value in fields.items()}

    def handshake(self, fields: dict[str, Any]) -> dict[str, Any]:
        result = dict(fields)
        if "passwd" in fields:
            session = fields["sessionId"]
            if fields["passwd"] == password_of(session):
                result["passwd"] = "derived"
            result["sessionId"] = self.session(session)
        return result

    def learn(self, heard: Heard) -> None:
        """Notices a zxid used up for an undecodable write, so that all later ones move back by one."""
        zxid = heard.fields.get("zxid", 0)
        undecodable = heard.mangled and heard.op in WRITES and heard.fields.get("err") == MARSHALLING_ERROR
        if undecodable and not self.exact_zxids and heard.op != "multi" and zxid == self.newest + 1:
            self.extra.append(zxid)
        self.newest = max(self.newest, zxid)

    def zxid(self, raw: int) -> Any:
        if raw in (0, -1):
            return raw
        if raw < self.recording.base_zxid:
            return "old"
        return raw - self.recording.base_zxid - sum(1 for used in self.extra if used <= raw)

    def session(self, session_id: int) -> Any:
        if session_id == 0:
            return 0
        made_by = self.recording.sessions.get(session_id)
        return f"s{made_by}" if made_by is not None else f"unknown session {session_id:#x}"

    def time(self, time: int, zxid: int) -> Any:
        """`time` as a statement about it; 0 belongs to nodes no txn made."""
        if time == 0 or zxid <= 0 or zxid < self.recording.base_zxid:
            return "old" if time and zxid else 0
        if self.times.setdefault(zxid, time) != time:
            return f"{time - self.times[zxid]:+d} ms beside another sight of this zxid"
        early, late = self.recording.started_ms - _CLOCK_SLACK_MS, self.recording.ended_ms + _CLOCK_SLACK_MS
        return "t" if early <= time <= late else f"{time - early} ms after the program's start"

    def value(self, name: str, value: Any) -> Any:
        if name in _ZXID_NAMES:
            return self.zxid(value)
        if name == "stat":
            return self.stat(value)
        if name == "results":
            return [{k: self.value(k, v) for k, v in result.items()} for result in value]
        if name in _SORTED_NAMES and value is not None:
            return sorted((self.unrooted(element) for element in value), key=repr)
        if name == "clientInfo" and value is not None:
            return sorted(((info["authScheme"], info["user"]) for info in value), key=repr)
        if name == "acl" and value is not None:
            return _canonical_acl([(entry["perms"], entry["id"]["scheme"], entry["id"]["id"]) for entry in value])
        return self.unrooted(value) if name == "path" else value

    def stat(self, stat: dict[str, int]) -> dict[str, Any]:
        result: dict[str, Any] = dict(stat)
        for time, zxid in _STAT_TIMES:
            result[time] = self.time(stat[time], stat[zxid])
        for name in ("czxid", "mzxid", "pzxid"):
            result[name] = self.zxid(stat[name])
        result["ephemeralOwner"] = self.session(stat["ephemeralOwner"])
        return result

    def unrooted(self, text: Any) -> Any:
        root = self.recording.root
        if isinstance(text, str):
            return "~" if text == root[1:] else text.replace(root, "~")
        return text

    def times_going_back(self) -> list[Any]:
        """The zxids whose time is before that of an older zxid."""
        ordered = sorted(self.times.items())
        return [self.zxid(zxid) for (_, before), (zxid, after) in pairwise(ordered) if after < before]


def _canonical_acl(entries: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Runs of digest entries with equal perms sorted, all else as it is."""
    result: list[tuple[Any, ...]] = []
    for (_, scheme), group in groupby(entries, key=lambda entry: entry[:2]):
        run = list(group)
        result += sorted(run, key=repr) if scheme == "digest" else run
    return result


def _sort_session_end(turns: list[Canonical]) -> None:
    """Sorts, on every connection, the events that share the zxid of a turn's closeSession."""
    for _, by_conn in turns:
        ends = {
            fields.get("zxid")
            for frames in by_conn.values()
            for kind, op, fields in frames
            if kind == "reply" and op == "closeSession"
        }
        for conn, frames in by_conn.items() if ends else ():
            ordered: list[tuple[str, str, dict[str, Any]]] = []
            for of_end, group in groupby(
                frames, key=lambda frame: frame[0] == "event" and frame[2].get("zxid") in ends
            ):
                run = list(group)
                ordered += sorted(run, key=repr) if of_end else run
            by_conn[conn] = ordered


def canonical(recording: Recording, exact_zxids: bool = False) -> list[Canonical]:
    """The recording without what a server may choose; a last turn of its own tells of times that went back."""
    canon = _Canon(recording, exact_zxids)
    turns = canon.turns()
    _sort_session_end(turns)
    turns.append((2 * END_TURN, {0: [("times going back", "", {"zxids": canon.times_going_back()})]}))
    return turns


def first_difference(left: Recording, right: Recording, exact_zxids: bool = False) -> Difference | None:
    """The first difference between two recordings of one program, or None when they are equal."""
    pairs = zip(canonical(left, exact_zxids), canonical(right, exact_zxids), strict=False)
    for (turn, ours), (other_turn, theirs) in pairs:
        if turn != other_turn:
            return Difference(min(turn, other_turn), 0, 0, None, None, ("turn",))
        # The acting connection was heard first: its reply tells more than the events that follow from it.
        for conn in dict.fromkeys((*ours, *theirs)):
            difference = _in_frames(turn, conn, ours.get(conn, []), theirs.get(conn, []))
            if difference is not None:
                return difference
    if len(left.heard) != len(right.heard):
        return Difference(END_TURN, 0, 0, None, None, ("turns",))
    return None


def _in_frames(turn: int, conn: int, ours: list[Any], theirs: list[Any]) -> Difference | None:
    for at in range(max(len(ours), len(theirs))):
        one = ours[at] if at < len(ours) else None
        other = theirs[at] if at < len(theirs) else None
        if one != other:
            return Difference(turn, conn, at, one, other, _differing(one, other))
    return None


def _differing(one: Any, other: Any) -> tuple[str, ...]:
    """The names of the fields that differ, stat fields and multi results by their own names."""
    if one is None or other is None or one[:2] != other[:2]:
        return ("kind",)
    return tuple(sorted(set(_names(one[2], other[2]))))


def _names(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    names: list[str] = []
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            names += [f"{name}.{inner}" for inner in _names(a, b)]
        elif name == "results" and isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            names += [f"results.{inner}" for x, y in zip(a, b, strict=True) for inner in _names(x, y)]
        else:
            names.append(name)
    return names


def is_setup(turn: int) -> bool:
    """True for the turns that the runner adds around a program."""
    return turn == SETUP_TURN or turn >= END_TURN
