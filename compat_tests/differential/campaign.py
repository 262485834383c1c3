"""Many programs on a pair of servers: start both, run, compare; what differs is shrunk and told as a story.

One pair serves many programs, for a start costs more than a program. After a difference the pair is replaced, so that
one fault is not told again as a difference in the counters of `/`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from compat_tests import peers

from .compare import Difference, first_difference, is_setup
from .coverage import Coverage
from .generator import generate
from .pools import SUPER_DIGEST
from .programs import Program, Turn, describe
from .runner import Recording, run
from .sweep import sweep
from .wire import CONNECT_REQUEST, NoReply, Wire, encode

# Past this a shrunk story is told as it is.
SHRINK_S = 20.0
START_S = 30.0


class Address(Protocol):
    """Where a server listens."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


Start = Callable[[], AbstractContextManager[Address]]


@dataclass(frozen=True)
class Configuration:
    """How both servers of a pair are set up; `extended` tells the generator what they can do."""

    name: str
    config: dict[str, str]
    extended: bool = False


# Ticks of 10 s give session timeouts of 20 to 200 s: clamping shows, and no session ends while a program runs. Nothing
# may write but the programs, so containers and TTL nodes are not reaped meanwhile (JVM_FLAGS does it for Apache).
_COMMON = {"tickTime": "10000", "maxClientCnxns": "0", "admin.enableServer": "false"}
JVM_FLAGS = "-Dznode.container.checkIntervalMs=86400000"
DEFAULT = Configuration("default", _COMMON)
EXTENDED = Configuration(
    "extended",
    {
        **_COMMON,
        "extendedTypesEnabled": "true",
        "enforceQuota": "true",
        "reconfigEnabled": "true",
        "DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
    },
    extended=True,
)
CONFIGURATIONS = {configuration.name: configuration for configuration in (DEFAULT, EXTENDED)}


@dataclass(frozen=True)
class Finding:
    """A program on which the two servers part, shrunk as far as the time allowed, and the first difference in it."""

    configuration: str
    program: Program
    difference: Difference
    names: tuple[str, str]

    def story(self) -> str:
        """The shrunk program up to the difference, and what both servers said there."""
        difference = self.difference
        lines = [f"{self.program.name}, configuration {self.configuration}:", "  c0 connects and creates ~"]
        for turn in self.program.turns:
            if turn.id <= difference.turn:
                lines.append(f"  [{turn.id}] {describe(turn)}")
        if is_setup(difference.turn):
            lines.append("  then every session is closed" if difference.turn > 0 else "  (it differs there already)")
        where = f"turn {difference.turn}, c{difference.conn}, frame {difference.position}"
        lines.append(f"differs at {where}, in {', '.join(difference.fields)}")
        width = max(len(name) for name in self.names)
        for name, said in zip(self.names, (difference.left, difference.right), strict=True):
            lines.append(f"  {name:{width}}  {_tell(said)}")
        return "\n".join(lines)


def _tell(said: tuple[str, str, dict[str, object]] | None) -> str:
    if said is None:
        return "nothing (more)"
    kind, op, fields = said
    text = " ".join(f"{name}={value!r}" for name, value in fields.items())
    return f"{kind} {op} {text if len(text) < 2000 else text[:2000] + '...'}".replace("  ", " ")


@dataclass
class Campaign:
    """A pair of servers under one configuration, and the programs run on it so far."""

    left: tuple[str, Start]
    right: tuple[str, Start]
    configuration: Configuration
    exact_zxids: bool = False
    gentle: bool = False
    # Seconds spent by each server's runs and in all; the test prints them.
    spent_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    programs: int = 0
    steps: int = 0
    # How long a finding is made smaller, at most.
    shrink_s: float = SHRINK_S
    # What the programs on which both servers agreed have reached.
    coverage: Coverage = field(default_factory=Coverage)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._pair: tuple[Address, Address] | None = None
        self._roots = 0
        self._known: set[tuple[object, ...]] = set()
        self._threads = ThreadPoolExecutor(2)

    @property
    def names(self) -> tuple[str, str]:
        return self.left[0], self.right[0]

    def close(self) -> None:
        """Ends both servers."""
        self._threads.shutdown()
        self._stack.close()

    def restart(self) -> None:
        """The next program finds two new servers."""
        self._stack.close()
        self._pair = None

    def try_seeds(self, seeds: Iterable[int], steps: int) -> Iterator[tuple[Program, Finding | None]]:
        """Runs the sweep (it is full of nonsense: not if `gentle`), then the program of each seed."""
        extended = self.configuration.extended
        if not self.gentle:
            yield from self.try_programs([sweep(extended)])
        yield from self.try_programs(generate(seed, steps, extended, self.gentle) for seed in seeds)

    def try_programs(self, programs: Iterable[Program]) -> Iterator[tuple[Program, Finding | None]]:
        """Runs each program; yields it with the finding, if the servers parted.

        Of findings with the same signature only the first is shrunk.
        """
        for program in programs:
            difference = self.difference(program)
            self.programs += 1
            self.steps += program.steps
            finding = None
            if difference is not None:
                if difference.signature not in self._known:
                    self._known.add(difference.signature)
                    program, difference = self.shrink(program, difference)
                finding = Finding(self.configuration.name, program, difference, self.names)
                self.restart()
            yield program, finding

    def difference(self, program: Program) -> Difference | None:
        """Runs `program` on both servers at the same time and compares."""
        ours, theirs = self.record(program)
        difference = first_difference(ours, theirs, self.exact_zxids)
        if difference is None:
            self.coverage.add(program, ours)
        if any(_is_down(recording) for recording in (ours, theirs)):
            self.restart()
        return difference

    def record(self, program: Program) -> tuple[Recording, Recording]:
        """Both servers' recordings of `program`."""
        if self._pair is None:
            self._pair = self._started(self.left[1]), self._started(self.right[1])
        self._roots += 1
        root = f"/p{self._roots:05d}"
        runs = [self._threads.submit(self._timed, at, program, root) for at in (0, 1)]
        return runs[0].result(), runs[1].result()

    def _timed(self, at: int, program: Program, root: str) -> Recording:
        assert self._pair is not None
        begin = time.monotonic()
        try:
            return run(program, self._pair[at].host, self._pair[at].port, root)
        finally:
            self.spent_s[at] += time.monotonic() - begin

    def _started(self, start: Start) -> Address:
        server = self._stack.enter_context(start())
        _await_serving(server)
        return server

    def shrink(self, program: Program, difference: Difference) -> tuple[Program, Difference]:
        """A smaller program with a difference of the same signature: turns, then requests, are left out while it stays.

        A pair that has parted may part further; only the signature counts, so that does little harm.
        """
        deadline = time.monotonic() + self.shrink_s
        best, found = _up_to(program, difference), difference

        def still_differs(smaller: Program) -> bool:
            nonlocal best, found
            seen = self.difference(smaller)
            if seen is None or seen.signature != found.signature:
                return False
            best, found = _up_to(smaller, seen), seen
            return True

        self.restart()
        if not still_differs(best):
            return program, difference  # it takes the programs before it, or luck
        size = max(1, len(best.turns) // 2)
        while time.monotonic() < deadline:
            at, shrunk = 0, False
            while at < len(best.turns) and time.monotonic() < deadline:
                if still_differs(replace(best, turns=best.turns[:at] + best.turns[at + size :])):
                    shrunk = True
                else:
                    at += size
            if size > 1:
                size //= 2
            elif not shrunk:
                break
        at = 0
        while at < len(best.turns) and time.monotonic() < deadline:
            fewer = (turns for turns in _without_one_request(best.turns, at))
            if not any(still_differs(replace(best, turns=turns)) for turns in fewer):
                at += 1
        return best, found


def _up_to(program: Program, difference: Difference) -> Program:
    return replace(program, turns=tuple(turn for turn in program.turns if turn.id <= difference.turn))


def _without_one_request(turns: tuple[Turn, ...], at: int) -> Iterator[tuple[Turn, ...]]:
    """The same turns with one request of turn `at`, or one part of a multi in it, left out: one way after another."""
    turn = turns[at]
    for position in range(len(turn.requests) if len(turn.requests) > 1 else 0):
        fewer = turn.requests[:position] + turn.requests[position + 1 :]
        yield (*turns[:at], replace(turn, requests=fewer), *turns[at + 1 :])
    for position, request in enumerate(turn.requests):
        for part in range(len(request.parts)):
            less = replace(request, parts=request.parts[:part] + request.parts[part + 1 :])
            requests = (*turn.requests[:position], less, *turn.requests[position + 1 :])
            yield (*turns[:at], replace(turn, requests=requests), *turns[at + 1 :])


def _is_down(recording: Recording) -> bool:
    return any(
        heard.kind == "refused" for _, by_conn in recording.heard for frames in by_conn.values() for heard in frames
    )


def _await_serving(server: Address) -> None:
    """Waits until the server answers a handshake that makes no session: a port may listen before anyone serves."""
    refused = {"protocolVersion": 0, "lastZxidSeen": 0, "timeOut": 30000, "sessionId": 1, "passwd": b""}
    hello = encode(CONNECT_REQUEST, refused) + b"\0"
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            wire = Wire(server.host, server.port)
        except OSError:
            time.sleep(0.05)
            continue
        try:
            wire.send_frame(hello)
            if wire.frame() is not None:
                return
        except NoReply:
            continue
        finally:
            wire.close()
        time.sleep(0.05)
    raise TimeoutError(f"no server answers at {server.host}:{server.port}")


def peer(kind: str, configuration: Configuration, directory: Path) -> Start:
    """A Start for "apache" or "zkpy", in a new folder below `directory` each time."""

    def start() -> AbstractContextManager[Address]:
        begin = {"apache": peers.apache, "zkpy": peers.zkpy}[kind]
        data_dir = Path(tempfile.mkdtemp(prefix=f"{kind}-{configuration.name}-", dir=directory))
        return begin(data_dir, config=configuration.config, jvm_flags=JVM_FLAGS)

    return start


@dataclass(frozen=True)
class Running:
    """The address of a server that somebody else runs."""

    host: str
    port: int


def running(address: str) -> Start:
    """A Start for a server that already runs at HOST:PORT; it is neither started nor ended, and must be fresh."""
    host, _, port = address.rpartition(":")

    @contextmanager
    def start() -> Iterator[Running]:
        yield Running(host, int(port))

    return start
