"""The servers that scripts/bench and scripts/failover measure: one process each, or three, on this machine's loopback.

    start ─→ the first client of each place has its session ─→ port_of(place) ┄ purge, memory, cpu ┄→ stop

A place is where load is put: a server alone has one, an ensemble has a follower and the leader. Whatever starts begins
with empty data directories, and leaves none behind; and no server outlives the script, not even one that was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def module_of_the_command(name: str) -> ModuleType:
    """A module of zkpy/cli that stands on the standard library alone: as a file, for zkpy.cli as such needs click."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "."), ROOT / "zkpy" / "cli" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tied_to_this_process = module_of_the_command("tied").tied_to_this_process

START_PATIENCE_S = 60

ZOO_CFG = """\
tickTime=2000
initLimit=10
syncLimit=5
dataDir={data}
clientPort={port}
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
"""

# What Apache's own conf/logback.xml amounts to.
LOGBACK = """\
<configuration>
  <appender name="CONSOLE" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} [myid:%X{myid}] - %-5p [%t:%C{1}@%L] - %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="CONSOLE"/></root>
</configuration>
"""


class Failure(Exception):
    """A server or the load generator did not do its part; the text says how."""


def ask_for_session(port: int) -> socket.socket:
    """A connection with a handshake sent, the answer still to come; OSError when nobody listens."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(struct.pack(">iiqiqi16s?", 45, 0, 0, 30_000, 0, 16, b"", False))
    return sock


def session_granted(sock: socket.socket) -> bool:
    """Read the answer to a handshake: whether it came, and came with a session."""
    reply = b""
    with contextlib.suppress(OSError):
        while len(reply) < 41 and (part := sock.recv(41 - len(reply))):
            reply += part
    return len(reply) == 41 and struct.unpack_from(">i", reply, 8)[0] > 0


def first_session(server: Process) -> socket.socket:
    """The first connection with a session from a server that is just starting; Failure when it dies or takes for ever.

    Asks anew every 20 ms without giving up on the earlier ones: a server may accept a connection before it is ready to
    answer, and then leave just that one hanging.
    """
    asked: list[socket.socket] = []
    limit = time.monotonic() + START_PATIENCE_S
    try:
        while time.monotonic() < limit:
            if not server.is_alive():
                raise Failure(f"did not start: {server.last_words()}")
            try:
                asked.append(ask_for_session(server.port))
            except OSError:
                time.sleep(0.002)
                continue
            for sock in select.select(asked, [], [], 0.02)[0]:
                asked.remove(sock)
                if session_granted(sock):
                    return sock
                sock.close()
            if len(asked) > 100:
                asked.pop(0).close()
        raise Failure(f"does not serve after {START_PATIENCE_S} s")
    finally:
        for sock in asked:
            sock.close()


def close_session(sock: socket.socket) -> None:
    sock.sendall(struct.pack(">iii", 8, 1, -11))
    sock.recv(64)
    sock.close()


def process_tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its descendants, in MB (10^6 bytes)."""
    total = 0
    for each in process_tree(pid):
        with contextlib.suppress(OSError):
            match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{each}/status").read_text())
            total += int(match[1]) * 1024 if match else 0
    return total / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time used so far by a process and its descendants."""
    ticks = 0
    for each in process_tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def machine_cpu_seconds() -> float:
    """Processor time that all of the machine has spent so far, stolen time included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


class Process:
    """One server process on a data directory of its own."""

    def __init__(self, name: str, work: Path, options: argparse.Namespace) -> None:
        self.name = name
        self.work = work
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def command(self, config: Path) -> list[str]:
        """The command line that serves the configuration."""
        if self.name == "apache":
            (self.work / "logback.xml").write_text(LOGBACK)  # without one, logback would log at DEBUG
            path = f"{self.work}:{apache_jar().parent}/*"
            return [java(), "-Xmx1000m", "-cp", path, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
        return [self.options.python, "-m", "zkpy", "serve", str(config)]

    def spawn(self, port: int, sid: int = 0, members: str = "") -> None:
        """Start it on an empty directory: alone, or as the member `sid` of those."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "data").mkdir(parents=True)
        if self.name == "null":
            program = [str(self.options.null_program), f"size={self.options.size}"]
            self.process = subprocess.Popen(
                program,
                stdout=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=tied_to_this_process(signal.SIGKILL),
            )
            assert self.process.stdout is not None
            self.port = int(self.process.stdout.readline())
            return
        self.port = port
        if sid:
            (self.work / "data" / "myid").write_text(f"{sid}\n")
        (self.work / "zoo.cfg").write_text(ZOO_CFG.format(data=self.work / "data", port=port) + members)
        self.respawn()

    def respawn(self) -> None:
        """Start it over what its directory holds. Python keeps what it has compiled from one start to the next, as it
        does wherever its own directory can be written to."""
        environment = dict(os.environ, PYTHONPYCACHEPREFIX=str(self.work.parent / "bytecode"))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with open(self.work / "out", "ab") as out:
            self.process = subprocess.Popen(
                self.command(self.work / "zoo.cfg"),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=tied_to_this_process(signal.SIGKILL),
            )

    def kill(self) -> None:
        """kill -9, and what it had on disk stays."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def purge(self) -> None:
        """Drop all but the newest logs and snapshots, as an operator's autopurge would: a run writes gigabytes."""
        for kind in ("log", "snapshot"):
            files = [(int(file.suffix[1:], 16), file) for file in self.work.glob(f"data/version-2/{kind}.*")]
            for _, file in sorted(files)[:-4]:
                file.unlink()

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def last_words(self) -> str:
        lines = (self.work / "out").read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "no output"

    def stop(self) -> None:
        if self.process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if not self.is_alive():
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        shutil.rmtree(self.work, ignore_errors=True)


class Server:
    """One server, or an ensemble of `count`; each `start` begins with empty directories."""

    def __init__(self, name: str, work: Path, options: argparse.Namespace) -> None:
        self.name = name
        count = options.members
        self.processes = [Process(name, work / name / str(sid), options) for sid in range(1, count + 1)]
        #: Where load is put; what a shape's name begins with.
        self.places = ("follower", "leader") if count > 1 else ("",)

    def start(self) -> float:
        """Spawn, wait for a successful handshake with every process, return the seconds between the two."""
        count = len(self.processes)
        ports = free_ports(3 * count)
        members = "".join(
            f"server.{sid}=127.0.0.1:{ports[count + sid - 1]}:{ports[2 * count + sid - 1]}\n"
            for sid in range(1, count + 1)
        )
        began = time.perf_counter()
        for sid, process in enumerate(self.processes, 1):
            if count > 1:
                process.spawn(ports[sid - 1], sid, members)
            else:
                process.spawn(ports[0])
        first = [first_session(process) for process in self.processes]
        took = time.perf_counter() - began
        for sock in first:
            close_session(sock)
        return took

    def port_of(self, place: str) -> int:
        """The client port there. Who leads may have changed; Failure when nobody does."""
        if not place:
            return self.processes[0].port
        ports = [process.port for process in self.processes if mode_of(process.port) == place]
        if not ports:
            raise Failure(f"has no {place}")
        return ports[0]

    def is_alive(self) -> bool:
        return all(process.is_alive() for process in self.processes)

    def rss_mb(self) -> float:
        """Resident memory, of all processes together."""
        return sum(rss_mb(process.pid) for process in self.processes)

    def cpu_seconds(self) -> float:
        """Processor time used so far, by all processes together."""
        return sum(cpu_seconds(process.pid) for process in self.processes)

    def last_words(self) -> str:
        """Of the first one that has died."""
        return next((process.last_words() for process in self.processes if not process.is_alive()), "it is alive")

    def purge(self) -> None:
        for process in self.processes:
            process.purge()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on, below those from which connections go out.

    A member that is started again must find its ports free.
    """
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(12_000, 32_000)
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def mode_of(port: int) -> str:
    """What the server there says it is: leader, follower, standalone; empty if it does not say."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"srvr")
        while part := sock.recv(4096):
            answer += part
    match = re.search(rb"Mode: (\w+)", answer)
    return match[1].decode() if match else ""


def java() -> str:
    return os.path.join(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else "java"


def apache_jar() -> Path:
    """The server's jar where scripts/peers has put Apache ZooKeeper, the newest 3.9; its libraries lie beside it."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    peers = Path(os.environ.get("ZKPY_PEERS") or Path(cache) / "zkpy" / "peers")
    found = [
        (int(match[1]), jar)
        for jar in peers.rglob("zookeeper-3.9.*.jar")
        if (match := re.fullmatch(r"zookeeper-3\.9\.(\d+)\.jar", jar.name))
    ]
    if not found:
        raise Failure(f"no Apache ZooKeeper 3.9 under {peers}: run scripts/peers first")
    return max(found)[1]
