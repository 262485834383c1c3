"""An ensemble on loopback: one process a member, of either kind, over a data directory that outlives its process.

    with Ensemble(directory, {1: "apache", 2: "zkpy", 3: "apache"}) as ensemble:
        ensemble.start(leader=3)

The voter with the greatest sid leads where all histories are equal, once it has been waited for: `start` sees to that.
A failure inside the `with` carries the end of each member's log.
"""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from compat_tests.datadirs.client import Client
from compat_tests.datadirs.served import word
from compat_tests.differential.pools import SUPER_DIGEST
from compat_tests.peers import LOGBACK, Server
from tests.ports import free_ports

#: Quick ticks, and limits wide enough for a machine that has other things to do. Small logs: they start at once.
CONFIG = {
    "tickTime": "500",
    "initLimit": "40",
    "syncLimit": "10",
    "maxSessionTimeout": "120000",
    "preAllocSize": "64",
    "extendedTypesEnabled": "true",
    "DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
}
#: Containers are looked for at once.
FLAGS = "-Dznode.container.checkIntervalMs=100"
#: Nothing that must happen takes longer unless it never happens.
PATIENCE_S = 60.0
TAIL_LINES = 40

#: How Apache says in which way a learner is brought up: as the learner, and as the leader.
WAYS = {
    "diff": r"Getting a diff from the leader|Sending DIFF",
    "snap": r"Getting a snapshot from leader|Sending snapshot last zxid of peer",
    "trunc": r"Truncating log to get in sync with the leader|Sending TRUNC",
}
#: It says that it sends TRUNC in whispers.
LOUDER = '<logger name="org.apache.zookeeper.server.quorum.LearnerHandler" level="DEBUG"/><root'
#: What the tests' own questions leave in Apache's log, and where in Java's code something was.
NOISE = re.compile(r"^\s+at |Processing \w+ command|0x7fffffff|:o\.a\.z\.Environment\]")
WRONG_DIGEST = re.compile(r"^.*(digests? (is|are) not matching|digest mismatch|unmatched digest).*$", re.I | re.M)


def await_true(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.02)


def _is_stopped(thread: Path) -> bool:
    """Is this thread (a directory of /proc) stopped, or gone?"""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in ("T", "Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


class Member(Server):
    """One member: a server that may change its kind between two starts."""

    def __init__(
        self, sid: int, kind: str, directory: Path, port: int, config: dict[str, str], flags: str = ""
    ) -> None:
        super().__init__(kind, directory / f"member{sid}", port=port, config=config)
        self.sid = sid
        self._flags = f"{FLAGS} {flags}"
        self._log_start = 0
        self._logback = directory / "logback-member.xml"
        directory.mkdir(parents=True, exist_ok=True)
        self._logback.write_text(LOGBACK.format(level="INFO", target="System.out").replace("<root", LOUDER))

    def launch(self) -> None:
        """Start it over its directory, made if need be."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "myid").write_text(f"{self.sid}\n")
        louder = f" -Dlogback.configurationFile={self._logback}" if self.kind != "zkpy" else ""
        self.jvm_flags = self._flags + louder
        self._log_start = len(self.log())
        super().launch()

    def wipe(self) -> None:
        """Forget everything."""
        assert self.process is None
        shutil.rmtree(self.data_dir)

    def freeze(self) -> None:
        """Let it hear, and neither act nor answer, until it is killed or thawed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        # A thread that runs on another core goes on for a moment.
        threads = Path(f"/proc/{self.process.pid}/task")
        await_true(lambda: all(_is_stopped(thread) for thread in threads.iterdir()), "every thread has stopped")

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def recent_log(self) -> str:
        """What it has logged since it was last launched."""
        return self.log()[self._log_start :]

    def has_logged(self, data: bytes) -> bool:
        """Is it in a log of txns on its disk?"""
        return any(data in path.read_bytes() for path in (self.data_dir / "version-2").glob("log.*"))

    def mode(self) -> str:
        """What it says of its role; "" if it does not say."""
        try:
            found = re.search(r"^Mode: (.*)$", word(self, "srvr"), re.MULTILINE)
        except OSError:
            return ""
        return found[1] if found is not None else ""

    def client(self) -> Client:
        """A client of this member alone."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return Client(self)
            except (OSError, EOFError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def __str__(self) -> str:
        return f"member {self.sid} ({self.kind})"


class Ensemble:
    """Members by sid; a context manager that kills what still runs at its end."""

    def __init__(
        self,
        directory: Path,
        kinds: dict[int, str],
        *,
        observers: Iterable[int] = (),
        config: dict[str, str] | None = None,
        flags: str = "",
    ) -> None:
        """`kinds`: sid → one of peers.KINDS; `flags`: -D options for all."""
        self.observers = frozenset(observers)
        ports = iter(free_ports(3 * len(kinds)))
        lines = {
            f"server.{sid}": f"127.0.0.1:{next(ports)}:{next(ports)}{':observer' * (sid in self.observers)}"
            for sid in kinds
        }
        self.members: dict[int, Member] = {}
        for sid, kind in kinds.items():
            own = {"peerType": "observer"} if sid in self.observers else {}
            settings = {**CONFIG, **(config or {}), **lines, **own}
            self.members[sid] = Member(sid, kind, directory, next(ports), settings, flags)

    @property
    def hosts(self) -> str:
        """The connect string of all members."""
        return ",".join(member.hosts for member in self.members.values())

    @property
    def running(self) -> list[Member]:
        """Those with a process."""
        return [member for member in self.members.values() if member.process is not None]

    def __getitem__(self, sid: int) -> Member:
        return self.members[sid]

    def start(self, *, leader: int) -> None:
        """Start all on equal histories so that this one leads: a quorum with it first."""
        voters = [sid for sid in self.members if sid not in self.observers]
        others = [sid for sid in sorted(voters) if sid != leader]
        first = [leader, *others[: len(voters) // 2]]
        assert all(sid <= leader for sid in first)
        self.launch(*first)
        self.await_leader(leader)
        self.launch(*(sid for sid in self.members if sid not in first))
        self.await_leader(leader)

    def launch(self, *sids: int) -> None:
        """Start these, and do not wait for them."""
        for sid in sids:
            self.members[sid].launch()

    def kill(self, *sids: int) -> None:
        """End these in the middle of what they do."""
        for sid in sids:
            self.members[sid].kill()

    def leader(self) -> Member:
        """Wait until one leads, and all that run serve."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            modes = {member: member.mode() for member in self.running}
            leading = [member for member, mode in modes.items() if mode == "leader"]
            rest = sorted(mode for member, mode in modes.items() if member not in leading)
            expected = sorted(
                "observer" if member.sid in self.observers else "follower" for member in modes if member not in leading
            )
            if len(leading) == 1 and rest == expected:
                for member in modes:
                    member.await_answer()
                return leading[0]
            shown = ", ".join(f"{member}: {mode or 'no answer'}" for member, mode in modes.items())
            dead = [str(member) for member in modes if member.process is not None and member.process.poll() is not None]
            assert not dead, f"{dead} ended by itself; {shown}"
            assert time.monotonic() < deadline, f"no ensemble with one leader: {shown}"
            time.sleep(0.05)

    def await_leader(self, sid: int) -> None:
        """Wait until all that run serve; this one must be the leader."""
        leader = self.leader()
        assert leader.sid == sid, f"{leader} leads, not {self.members[sid]}"

    def ways(self, sid: int) -> set[str]:
        """The ways in which a member was brought up when last launched, as Apache tells it: itself, or its leader."""
        member, leader = self.members[sid], self.leader()
        text = member.recent_log() if member.kind != "zkpy" else _told_of(leader.recent_log(), sid)
        return {way for way, pattern in WAYS.items() if re.search(pattern, text)}

    def wrong_digests(self) -> list[str]:
        """Lines of the members' logs about digests that do not fit."""
        return [
            f"{member}: {found[0]}" for member in self.members.values() for found in WRONG_DIGEST.finditer(member.log())
        ]

    def tails(self) -> str:
        """The end of each member's log."""
        parts = []
        for member in self.members.values():
            lines = [line for line in member.log().splitlines() if NOISE.search(line) is None]
            parts.append(f"--- {member}, the end of its log:\n" + "\n".join(lines[-TAIL_LINES:]))
        return "\n".join(parts)

    def __enter__(self) -> Ensemble:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if value is not None:
            value.add_note(self.tails())
        for member in self.running:
            member.kill()


def _told_of(log: str, sid: int) -> str:
    """What a leader of Apache's has logged of its last link with a learner: the lines of one thread."""
    rest = log[log.rindex(f"Synchronizing with Learner sid: {sid} ") :]
    start = log.rindex("\n", 0, len(log) - len(rest)) + 1
    thread = re.search(r"\[(LearnerHandler-[^]]*?):o\.a", log[start:])
    assert thread is not None
    return "\n".join(line for line in log[start:].splitlines() if f"[{thread[1]}:" in line)
