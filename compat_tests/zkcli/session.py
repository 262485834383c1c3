"""One zkCli process: a command in, the lines and the watch events it printed out.

zkCli says nothing at the end of a command. So after each we send a word it does not know, another one each time: it
answers with its usage, which we know from the start, and with the word. Events come from another thread, at any time,
each as an empty line, "WATCHER::", an empty line and the event: they are picked out of the other lines.

zkCli runs without JLine, whose prompt wants a terminal; then it reads plain lines and echoes nothing. `zkpy shell` is
driven the same way, to be compared with it.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from compat_tests import peers

# Far more than any command takes, on a machine that does other things as well.
DEADLINE_S = 60.0
# What zkCli's log says when it exits with a status that is not 0, with the time of day.
EXITING = re.compile(r"\d{4}-\d\d-\d\d .* ERROR .* - Exiting JVM with code \d+$")
#: What gives the command line of the program to drive, without its arguments.
Client = Callable[[Path], list[str]]
_UNKNOWN = "Command not found: Command not found "
_USAGE = "ZooKeeper -server host:port"


def command(directory: Path) -> list[str]:
    """zkCli's command line, without its arguments; it reads plain lines and prints times in UTC."""
    words = peers.zkcli_command(directory)
    at = words.index("-cp") + 1
    jars = sorted(str(jar) for jar in Path(words[at]).parent.glob("*.jar") if not jar.name.startswith("jline"))
    words[at] = os.pathsep.join(jars)
    return [words[0], "-Duser.timezone=UTC", *words[1:]]


def shell_command(directory: Path) -> list[str]:
    """The command line of `zkpy shell`, to be used in the place of zkCli's."""
    return ["env", "TZ=UTC", f"PYTHONPATH={peers.ROOT}", sys.executable, "-m", "zkpy", "shell"]


class Stuck(Exception):
    """What was to be printed did not come; the text says what did."""


class Reader:
    """Makes lines and events of zkCli's output, however it is cut."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[str] = []
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line.decode("utf-8", "replace"))

    def _take(self, line: str) -> None:
        is_event = line.startswith("WatchedEvent ")
        if not is_event and line != "WATCHER::":
            self.lines.append(line)
            return
        # Each of the two is printed in one piece with the empty line before it.
        assert self.lines.pop() == ""
        if is_event:
            self.events.append(line)


class Session:
    """A running zkCli, connected; a context manager that ends it."""

    def __init__(self, hosts: str, directory: Path, options: tuple[str, ...] = (), client: Client = command) -> None:
        self.process = subprocess.Popen(
            [*client(directory), "-server", hosts, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._reader = Reader()
        self._words = 0
        self._usage: list[str] = []

    def start(self) -> list[str]:
        """What it prints before its first command; events apart."""
        lines = self.say("")
        at = next(at for at, line in enumerate(lines) if line.startswith(_USAGE))
        self._usage = lines[at:]
        return lines[:at]

    def say(self, text: str) -> list[str]:
        """The lines that the command printed; what events came stays for `events`."""
        self._words += 1
        word = f"end-{self._words}"
        self._send(f"{text}\n{word}\n")
        end = _UNKNOWN + word
        self._read_until(lambda: end in self._reader.lines, f"the end of `{text[:80]}`")
        at = self._reader.lines.index(end)
        lines = self._reader.lines[:at]
        del self._reader.lines[: at + 1]
        return self._without_usage(lines)

    def _without_usage(self, lines: list[str]) -> list[str]:
        if not self._usage:
            return lines
        at = len(lines) - len(self._usage)
        first, *others = self._usage
        assert lines[at].endswith(first)
        assert lines[at + 1 :] == others
        # "setAcl -R" prints errors without ending their line.
        unended = lines[at].removesuffix(first)
        return [*lines[:at], unended] if unended else lines[:at]

    def events(self, wanted: int) -> list[str]:
        """The events since the last call, at least as many as are wanted."""
        self._read_until(lambda: len(self._reader.events) >= wanted, f"{wanted} events")
        events, self._reader.events = self._reader.events, []
        return events

    def finish(self, text: str) -> tuple[list[str], int]:
        """The lines that a last command printed, and zkCli's exit status: after "quit" it is that of the command."""
        self._send(f"{text}\nquit\n")
        self._read_until(lambda: False, "the end of its output", to_the_end=True)
        lines = [line for line in self._reader.lines if not EXITING.match(line)]
        return lines, self.process.wait(DEADLINE_S)

    def freeze(self) -> None:
        """The process stands still, its connection too."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """And goes on."""
        self.process.send_signal(signal.SIGCONT)

    def _send(self, text: str) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: the read that follows tells
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()

    def _read_until(self, done: Callable[[], bool], what: str, to_the_end: bool = False) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if data:
                self._reader.feed(data)
            elif ready and to_the_end:
                return
            else:
                printed = "\n".join([*self._reader.lines, *self._reader.events])
                raise Stuck(f"zkCli {'ended' if ready else 'hangs'} before {what}; it printed:\n{printed[-3000:]}")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
