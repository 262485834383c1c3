"""Plays a script: starts a server, takes every step to its zkCli, and writes down what each printed.

The words to the stage (a step that begins with @):
    @stop, @start       the server goes and comes back, with its data and on its port
    @freeze, @thaw      the session's zkCli stands still, and goes on
    @gone /path         waits until the server no longer lists this ephemeral
    @timeouts           prints the timeouts of the sessions that are connected
"""

from __future__ import annotations

import re
import socket
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from compat_tests import peers

from .script import Script, Step
from .session import DEADLINE_S, Client, Session, Stuck, command
from .transcript import Entry, Transcript

#: The last command of every session: what the script has left behind.
LAST = "ls -R /"
START = "(start)"
END = "(end)"
# What BIG and LONG in a command stand for: more and less than fits in a frame under the usual limit.
BIG = "x" * 1_200_000
LONG = "y" * 1_000_000


def four_letter_word(server: peers.Server, word: str) -> str:
    """The server's answer."""
    with socket.create_connection((server.host, server.port), timeout=DEADLINE_S) as sock:
        sock.sendall(word.encode())
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


class Stage:
    """A server and the sessions on it."""

    def __init__(self, kind: str, script: Script, directory: Path, client: Client = command) -> None:
        self.script = script
        self.client = client
        self.directory = Path(tempfile.mkdtemp(prefix=f"{kind}-{script.name}-", dir=directory))
        self.server = peers.server(kind, self.directory / "data", config=script.config, jvm_flags=script.jvm_flags)
        self.transcript = Transcript(self.server.hosts)
        self._sessions: dict[int, Session] = {}
        self._open = ExitStack()

    def play(self) -> Transcript:
        """The whole script."""
        with self._open:
            self._open.enter_context(self.server)
            for step in self.script.steps:
                if step.session not in self._sessions:
                    self._begin(step.session)
                self._take(step)
            for number in sorted(self._sessions, reverse=True):
                lines, status = self._sessions[number].finish(LAST)
                self.transcript.add(Entry(number, END, [*lines, f"exit status {status}"], []))
        return self.transcript

    def _begin(self, number: int) -> None:
        session = Session(self.server.hosts, self.directory, self.script.options, self.client)
        self._sessions[number] = self._open.enter_context(session)
        lines = session.start()
        self.transcript.add(Entry(number, START, lines, [(number, event) for event in session.events(1)]))

    def _take(self, step: Step) -> None:
        session = self._sessions[step.session]
        if step.command.startswith("@"):
            lines = self._direct(step, session)
        else:
            text = step.command.replace("HOSTS", self.server.hosts).replace("BIG", BIG).replace("LONG", LONG)
            lines = session.say(text)
        events = []
        for number in sorted({step.session, *(number for number, _ in step.events)}):
            wanted = sum(1 for owner, _ in step.events if owner == number)
            events += [(number, event) for event in self._sessions[number].events(wanted)]
        self.transcript.add(Entry(step.session, step.command, lines, events, step.unordered))

    def _direct(self, step: Step, session: Session) -> list[str]:
        word, *arguments = step.command.split()
        if word == "@stop":
            self.server.stop()
        elif word == "@start":
            self.server.start()
        elif word == "@freeze":
            session.freeze()
        elif word == "@thaw":
            session.thaw()
        elif word == "@gone":
            self._await_gone(arguments[0])
        elif word == "@timeouts":
            return sorted(re.findall(r"to=\d+", four_letter_word(self.server, "cons")))
        else:
            raise ValueError(f"not a word to the stage: {step.command}")
        return []

    def _await_gone(self, path: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while f"\t{path}\n" in four_letter_word(self.server, "dump"):
            if time.monotonic() > deadline:
                raise Stuck(f"the server still lists the ephemeral {path}")
            time.sleep(0.1)


def play(kind: str, script: Script, directory: Path, client: Client = command) -> Transcript:
    """The transcript of a script on a fresh server of this kind."""
    stage = Stage(kind, script, directory, client)
    try:
        return stage.play()
    except Stuck as stuck:
        raise Stuck(f"{kind}, after `{stage.transcript.entries[-1].command[:80]}`: {stuck}") from None


def unseen(script: Script, transcript: Transcript) -> list[str]:
    """What the script wants to see and the transcript does not hold, and events it does not want; [] if all is well."""
    missing = []
    texts = [text for _, text in transcript.normal()]
    scenes = [
        (entry, [line.strip() for line in text])
        for entry, text in zip(transcript.entries, texts, strict=True)
        if entry.command not in (START, END)
    ]
    for step, (entry, seen) in zip(script.steps, scenes, strict=True):
        missing += [f"{step.command}: {line}" for line in step.says if line.strip() not in seen]
        events = [(session, event.partition(" zxid: ")[0]) for session, event in entry.events]
        if sorted(events) != sorted(step.events):
            missing.append(f"{step.command}: events {step.events}, not {events}")
    return missing


def side_by_side(act: Callable[[str], Transcript], kinds: tuple[str, str] = ("apache", "zkpy")) -> list[Transcript]:
    """The transcripts of the same act on two servers, at the same time."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(act, kinds))
