"""The language of the scripts: commands as zkCli takes them, and below each what its transcript must hold.

    ls -w /a                        a command for session 1; HOSTS in it is the server's address
    2> create /a/b                  the same for session 2, which starts with its first command
      Created /a/b                  a line that must be printed
      ! text                        the same, and the command is a wrong usage: zkCli or the server refuses it
      event NodeCreated /a/b        an event this session gets; the next command waits for it
      1> event NodeDeleted /b       one that session 1 gets
      event Disconnected            a change of the connection's state; "event Disconnected Kind /a" has both
      unordered                     the order of lines, list items and events is not the server's promise
    @stop                           a word to the stage: see `play`

Blank lines and lines that begin with # are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_THEMES = Path(__file__).parent / "themes"
_SESSION = re.compile(r"(?:(\d)> )?(.*)")


@dataclass
class Step:
    """One command to one session, and what must be seen of it. Events are (session, text) pairs."""

    session: int
    command: str
    says: list[str] = field(default_factory=list)
    events: list[tuple[int, str]] = field(default_factory=list)
    wrong: bool = False
    unordered: bool = False

    @property
    def words(self) -> list[str]:
        """The command's words."""
        return self.command.split()


@dataclass(frozen=True)
class Script:
    """A theme: what its servers are told in zoo.cfg and as system properties, and zkCli's own options."""

    name: str
    config: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    @property
    def steps(self) -> list[Step]:
        """What is played."""
        return parse((_THEMES / f"{self.name}.txt").read_text(encoding="utf-8"))

    @property
    def jvm_flags(self) -> str:
        """The system properties as the servers take them."""
        return " ".join(f"-D{name}={value}" for name, value in self.properties.items())


def _split(text: str) -> tuple[int | None, str]:
    match = _SESSION.fullmatch(text)
    assert match is not None
    return int(match[1]) if match[1] else None, match[2]


def parse(text: str) -> list[Step]:
    """The steps of a script's text."""
    steps: list[Step] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith("  "):
            session, command = _split(line)
            steps.append(Step(session or 1, command))
            continue
        step, note = steps[-1], line[2:]
        session, word = _split(note)
        if word.startswith("event "):
            step.events.append((session or step.session, event_text(word.removeprefix("event "))))
        elif note == "unordered":
            step.unordered = True
        else:
            step.wrong |= note.startswith("! ")
            step.says.append(note.removeprefix("! "))
    return steps


def event_text(short: str) -> str:
    """An event as zkCli prints it, but for its zxid."""
    match short.split():
        case [state]:
            return f"WatchedEvent state:{state} type:None path:null"
        case [kind, path]:
            return f"WatchedEvent state:SyncConnected type:{kind} path:{path}"
        case [state, kind, path]:
            return f"WatchedEvent state:{state} type:{kind} path:{path}"
    raise ValueError(f"not an event: {short}")
