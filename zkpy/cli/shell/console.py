"""The shell itself: takes lines or words, runs verbs, prints what they say and what watches tell.

Lines come from anywhere: a terminal (terminal.py), a pipe, or the command line for a single verb. stdout and stderr get
what zkCli writes there, each line at once, since whoever reads both wants them in their order.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Final, TextIO

import click

from jute import JuteError
from zkpy.cli.connecting import EXIT_UNAVAILABLE
from zkpy.cli.shell import access, ensemble, extras, quotas, watching, znodes
from zkpy.cli.shell.connection import Event
from zkpy.cli.shell.options import VerbError
from zkpy.cli.shell.paths import BadPath
from zkpy.cli.shell.printing import error_text
from zkpy.cli.shell.session import Session
from zkpy.cli.shell.verb import VERBS, Desk, parse_long
from zkpy.proto import errors, events

# The verbs are kept by importing their modules.
_MODULES: Final = (access, ensemble, extras, quotas, watching, znodes)

#: Verbs of the shell itself, which need no connection, and one that ends it.
OWN_USAGES: Final = {
    "close": "", "connect": "host:port", "history": "", "printwatches": "on|off", "quit": "", "redo": "cmdno",
}  # fmt: skip
#: How many lines `history` shows before its own.
HISTORY_SHOWN: Final = 10
#: How long the end waits for the server to hear of it.
FAREWELL_S: Final = 2.0

_WORD: Final = re.compile(r"""\s*([^"']\S*|"[^"]*"|'[^']*')\s*""", re.ASCII)
_QUOTED: Final = re.compile(r"""(['"])(.*)\1""", re.DOTALL)


class Quit(Exception):
    """The verb `quit`."""


class Console:
    """One shell, over one session after the other."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        timeout_ms: int,
        read_only: bool = False,
        waits: bool = False,
        auth: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """`waits`: `connect` returns once there is a session, and ends the shell if none comes within the timeout."""
        self.status = 0
        self.count = 0
        self.session: Session | None = None
        self.hosts = ""
        #: Did the last command end because there was no connection?
        self.was_lost = False
        self._out = out
        self._err = err
        self._timeout_ms = timeout_ms
        self._read_only = read_only
        self._waits = waits
        self._auth = auth
        self._history: dict[int, str] = {}
        self._prints_watches = True
        #: Are events about the connection itself printed?
        self.prints_connection = True
        # Two threads print: this one, and the session's.
        self._printing = threading.Lock()
        #: Gives the prompt and what has been typed behind it, while a terminal waits there.
        self.draw_prompt: Callable[[], str] | None = None

    # Printing.

    def say(self, text: str) -> None:
        """A line on stdout."""
        self._print(self._out, f"{text}\n")

    def complain(self, text: str) -> None:
        """A line on stderr."""
        self._print(self._err, f"{text}\n")

    def write(self, text: str) -> None:
        """Text on stdout, as it is."""
        self._print(self._out, text)

    def _print(self, file: TextIO, text: str) -> None:
        with self._printing:
            file.write(text)
            file.flush()

    # Connections.

    def connect(self, hosts: str) -> None:
        """End the session there is, and begin one there. Raises VerbError, or Unavailable if it waits in vain."""
        if self.session is not None:
            self.session.close()
        self.hosts = hosts
        connected = threading.Event()

        def on_event(event: Event) -> None:
            self._show(event)
            if event.kind == events.NONE and event.state in (events.SYNC_CONNECTED, events.CONNECTED_READ_ONLY):
                connected.set()

        try:
            self.session = Session(hosts, self._timeout_ms, on_event, read_only=self._read_only, auth=self._auth)
        except click.BadParameter as error:
            raise VerbError(error.message) from None
        if self._waits and not connected.wait(self._timeout_ms / 1000):
            self.session.close(FAREWELL_S)
            text = f"{hosts} gave no session within {self._timeout_ms / 1000:g} s"
            raise VerbError(f"zkpy: {text}", EXIT_UNAVAILABLE)

    def _show(self, event: Event) -> None:
        if self._prints_watches and (event.kind != events.NONE or self.prints_connection):
            draw = self.draw_prompt
            self._print(self._out, f"\nWATCHER::\n\n{event}\n{draw() if draw is not None else ''}")

    def close(self) -> None:
        """End the session, if there is one, without a word."""
        self._prints_watches = False
        if self.session is not None:
            self.session.close(FAREWELL_S)

    @property
    def prompt(self) -> str:
        """What stands before a line."""
        state = "NOT_CONNECTED" if self.session is None else self.session.state
        return f"[zk: {self.hosts}({state}) {self.count}] "

    # Commands.

    def take_line(self, line: str) -> None:
        """Run a line, and remember it. Raises Quit."""
        if line:
            self._history[self.count] = line
            self.take_words(split(line))
            self.count += 1

    def take_words(self, words: list[str]) -> None:
        """Run a command; `status` says how it went. Raises Quit."""
        self.was_lost = False
        try:
            self._run(words)
            self.status = 0
        except VerbError as error:
            self.complain(str(error))
            self.status = error.status
        except (BadPath, JuteError) as error:
            self.complain(str(error))
            self.status = 1
        except errors.KeeperError as error:
            self.complain(error_text(error))
            self.was_lost = error.code == errors.CONNECTIONLOSS
            self.status = 1

    def _run(self, words: list[str]) -> None:
        name = words[0] if words else ""
        if name not in VERBS and name not in OWN_USAGES:
            self.complain(usage())
            raise VerbError(f"Command not found: Command not found {name}", 127)
        if name == "quit":
            raise Quit
        if name == "redo" and len(words) > 1:
            self._redo(words[1])
        elif name == "history":
            for number in range(max(0, self.count - HISTORY_SHOWN), self.count + 1):
                self.say(f"{number} - {self._history.get(number, 'null')}")
        elif name == "printwatches" and len(words) == 1:
            self.say(f"printwatches is {'on' if self._prints_watches else 'off'}")
        elif name == "printwatches":
            self._prints_watches = words[1] == "on"
        elif name == "connect":
            self.connect(words[1] if len(words) > 1 else self.hosts)
        session = self.session
        if session is None or not session.is_alive:
            self.say("Not connected")
        elif name == "close":
            session.close()
        elif name in VERBS:
            verb = VERBS[name]
            verb.run(Desk(session, self.say, self.complain, self.write), verb.parse(words))

    def _redo(self, text: str) -> None:
        number = parse_long(text)
        if number is None:
            raise VerbError(f"{text} is no number of a command: see history")
        if not 0 <= number < self.count:
            raise VerbError("Command index out of range")
        line = self._history[number]
        words = split(line)
        if words and words[0] == "redo":
            raise VerbError("No redoing redos")
        self._history[self.count] = line
        self.take_words(words)


def split(line: str) -> list[str]:
    """The words of a line; one in quotes may have blanks in it, or nothing at all."""
    words = []
    for found in _WORD.finditer(line):
        quoted = _QUOTED.fullmatch(found[1])
        words.append(quoted[2] if quoted else found[1])
    return words


def usage() -> str:
    """All verbs and how they are used."""
    usages = OWN_USAGES | {name: verb.usage for name, verb in VERBS.items()}
    lines = [f"\t{name} {text}" for name, text in sorted(usages.items())]
    return "\n".join(["ZooKeeper -server host:port -client-configuration properties-file cmd args", *lines])
