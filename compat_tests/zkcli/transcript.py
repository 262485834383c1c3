"""What zkCli printed, command by command; its normal form, and where two of them differ.

What the normal form hides, and what of it is still compared:
    address         the server's own becomes <server>
    session id      a name by order of appearance: <session 1>; 0x0 stays
    ctime, mtime    if within the play: <time of its zxid>; a zxid that is seen with two times keeps the second one
    long lines      beginning, length and hash
    unordered       of such an entry the lines, the items of a list and the events are sorted
Zxids stay as they are: both servers began with nothing.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

Event = tuple[int, str]
# Below a second a time of the server may be cut off, or be taken a little before ours.
_SLACK_S = 2.0
_FIELD = re.compile(r"(cZxid|mZxid|ctime|mtime|ephemeralOwner) = (.+)")
# Longer lines are shown by their beginning, length and hash.
_LONG = 2000
_ZXID_OF = {"ctime": "cZxid", "mtime": "mZxid"}


@dataclass(frozen=True)
class Entry:
    """One command, the session that took it, and what was printed until the next one."""

    session: int
    command: str
    lines: list[str]
    events: list[Event]
    unordered: bool = False


@dataclass
class Transcript:
    """The entries of one play on the server at `hosts`, from `began_s` to `ended_s` by the wall clock."""

    hosts: str
    entries: list[Entry] = field(default_factory=list)
    began_s: float = field(default_factory=time.time)
    ended_s: float = 0.0

    def add(self, entry: Entry) -> None:
        """The next entry."""
        self.entries.append(entry)
        self.ended_s = time.time()

    def normal(self) -> list[tuple[str, list[str]]]:
        """Each command as "session> command", and all its text in normal form."""
        form = _NormalForm(self)
        return [form.entry(entry) for entry in self.entries]


class _NormalForm:
    """What has been given a name so far; entries must come in order."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.sessions: dict[str, str] = {}
        self.times: dict[str, str] = {}
        self.block: dict[str, str] = {}

    def entry(self, entry: Entry) -> tuple[str, list[str]]:
        lines = [self.line(line) for line in entry.lines]
        events = [f"{session}> {event}" for session, event in entry.events]
        if entry.unordered:
            lines = sorted(_sort_items(line) for line in lines)
            events.sort()
        return f"{entry.session}> {entry.command}", lines + events

    def line(self, line: str) -> str:
        line = line.replace(self.transcript.hosts, "<server>")
        if len(line) > _LONG:
            return f"{line[:40]}... <{len(line)} characters, {hashlib.sha256(line.encode()).hexdigest()}>"
        match = _FIELD.fullmatch(line)
        if match is None:
            return line
        name, value = match[1], match[2]
        self.block[name] = value
        if name in _ZXID_OF:
            value = self.time(self.block.get(_ZXID_OF[name], ""), value)
        elif name == "ephemeralOwner" and value != "0x0":
            value = self.sessions.setdefault(value, f"<session {len(self.sessions) + 1}>")
        return f"{name} = {value}"

    def time(self, zxid: str, text: str) -> str:
        try:
            at = datetime.strptime(text, "%a %b %d %H:%M:%S UTC %Y").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return text
        during = self.transcript.began_s - _SLACK_S <= at <= self.transcript.ended_s + _SLACK_S
        if not during or self.times.setdefault(zxid, text) != text:
            return text
        return f"<time of {zxid}>"


def _sort_items(line: str) -> str:
    if line.startswith("[") and line.endswith("]"):
        return f"[{', '.join(sorted(line[1:-1].split(', ')))}]"
    return line


def differences(left: Transcript, right: Transcript, names: tuple[str, str] = ("apache", "zkpy")) -> list[str]:
    """A readable difference for each command whose text differs; nothing if the transcripts are equal."""
    ours, theirs = left.normal(), right.normal()
    told = []
    for (command, a), (other, b) in zip(ours, theirs, strict=False):
        if (command, a) != (other, b):
            lines = [f"  {line}" for line in difflib.unified_diff(a, b, *names, lineterm="", n=2)]
            told.append("\n".join([command, *lines]))
    if len(ours) != len(theirs):
        told.append(f"{names[0]} has {len(ours)} entries, {names[1]} {len(theirs)}")
    return told
