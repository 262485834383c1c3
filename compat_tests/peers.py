"""The servers under comparison, Apache's and ours, started the same way from the same settings.

    with server("apache", tmp_path / "a") as apache, server("zkpy", tmp_path / "z") as zkpy: ...

Both read a zoo.cfg made from DEFAULTS and the test's `config`; system properties go to both as -D options.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent

#: What every server of these tests is told unless the test says otherwise.
DEFAULTS = {
    "tickTime": "2000",
    "clientPortAddress": "127.0.0.1",
    "maxClientCnxns": "0",
    "4lw.commands.whitelist": "*",
    "admin.enableServer": "false",
}
#: Quick to start and small: these tests are about what Apache answers, not how fast.
JAVA_FLAGS = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8"]

LOGBACK = """<configuration><appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><target>{target}</target>
<encoder><pattern>%d{{ISO8601}} %-5p [%t:%C{{1}}] - %m%n</pattern></encoder></appender>
<root level="{level}"><appender-ref ref="OUT"/></root></configuration>
"""

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


#: What scripts/peers can install → what the names of their directories begin with.
PEERS = {
    "apache": "zookeeper-3.9",
    "apache38": "zookeeper-3.8",
    "kafka": "kafka-",
    "curator": "curator-",
    "kazoo": "kazoo-",
}
#: Kinds of server: Apache's, the same of 3.8, and ours.
KINDS = ("apache", "apache38", "zkpy")


def peers_dir() -> Path:
    """Where scripts/peers installs."""
    given = os.environ.get("ZKPY_PEERS")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "zkpy" / "peers"


def find_peer(name: str) -> Path | None:
    """The directory of an installed peer, the newest if there are several."""
    prefix = PEERS[name]
    if name != "kazoo" and shutil.which("java") is None:
        return None
    directory = peers_dir()
    found = sorted(directory.glob(f"{prefix}*")) if directory.is_dir() else []
    return found[-1] if found else None


def require(*names: str) -> None:
    """Skip the test unless these peers are installed; fail it where CI is set, which installs them first."""
    missing = [name for name in names if find_peer(name) is None]
    if missing:
        text = f"{', '.join(missing)} not installed: run scripts/peers {' '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


def classpath(name: str) -> str:
    """The Java class path of a peer."""
    directory = find_peer(name)
    assert directory is not None, f"{name} is not installed"
    return f"{directory}/*"


def _logback(directory: Path, level: str, target: str = "System.out") -> str:
    path = directory / f"logback-{level.lower()}.xml"
    path.write_text(LOGBACK.format(level=level, target=target))
    return f"-Dlogback.configurationFile={path}"


def apache_tool_command(directory: Path, main_class: str) -> list[str]:
    """The command line of a program of Apache's, without its arguments; errors of its log go to stderr."""
    return [
        "java", *JAVA_FLAGS, _logback(directory, "ERROR", "System.err"), "-cp", classpath("apache"),
        f"org.apache.zookeeper.{main_class}",
    ]  # fmt: skip


def zkcli_command(directory: Path) -> list[str]:
    """The command line of Apache's zkCli, without its arguments."""
    return apache_tool_command(directory, "ZooKeeperMain")


def apache_server_command(directory: Path, flags: list[str] | None = None, peer: str = "apache") -> list[str]:
    """The command line of Apache's server, without its zoo.cfg; its log goes to stdout."""
    return [
        "java", *JAVA_FLAGS, _logback(directory, "INFO"), *(flags or []), "-cp", classpath(peer),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
    ]  # fmt: skip


def zkpy_server_command() -> list[str]:
    """The command line of this checkout's server, without its zoo.cfg."""
    return [sys.executable, "-m", "zkpy", "serve"]


class Server:
    """One server process over one data directory; a context manager that starts and stops it."""

    def __init__(
        self,
        kind: str,
        data_dir: Path,
        *,
        port: int = 0,
        config: dict[str, str] | None = None,
        jvm_flags: str = "",
    ) -> None:
        """`kind` is one of KINDS. zoo.cfg and the log stand beside `data_dir`."""
        assert kind in KINDS
        self.kind = kind
        self.host = "127.0.0.1"
        self.port = port or free_ports(1)[0]
        self.data_dir = Path(data_dir)
        self.config = {**DEFAULTS, **(config or {})}
        self.jvm_flags = jvm_flags
        self.process: subprocess.Popen[bytes] | None = None
        beside = self.data_dir.parent
        beside.mkdir(parents=True, exist_ok=True)
        self.config_path = beside / f"{self.data_dir.name}-zoo.cfg"

    @property
    def log_path(self) -> Path:
        """The log of this kind of server."""
        return self.data_dir.parent / f"{self.data_dir.name}-{self.kind}.log"

    @property
    def hosts(self) -> str:
        """The connect string."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError with the end of its log if it does not."""
        self.launch()
        self.await_answer()

    def launch(self) -> None:
        """Start it, and do not wait for anything."""
        assert self.process is None
        settings = {"dataDir": str(self.data_dir), "clientPort": str(self.port), **self.config}
        self.config_path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        environment = dict(os.environ)
        if self.kind != "zkpy":
            command = apache_server_command(self.data_dir.parent, self.jvm_flags.split(), self.kind)
        else:
            command = zkpy_server_command()
            environment["SERVER_JVMFLAGS"] = self.jvm_flags
            environment["PYTHONPATH"] = str(ROOT)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self.config_path)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )

    def await_answer(self) -> None:
        """Wait until it answers, once launched. Raises RuntimeError with the end of its log if it does not."""
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        patience_s = 0.05
        while True:
            try:
                if self._answers(patience_s):
                    return
            except TimeoutError:
                # Apache's may say nothing for long to one that knocks while it starts: knock again. But wait longer for
                # an answer, as a busy machine may need that for each.
                patience_s *= 2
            if self.process.poll() is not None or time.monotonic() > deadline:
                status = self.process.poll()
                self.kill()
                raise RuntimeError(f"{self.kind} did not start (status {status}):\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM, and wait; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL, and wait; its exit status."""
        return self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it again on the same port."""
        self.stop()
        self.start()

    def log(self) -> str:
        """All it has logged so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _end(self, signal_number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signal_number)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _answers(self, within_s: float) -> bool:
        """Does it get as far as refusing a session that cannot exist? That takes a running request pipeline.

        Raises TimeoutError if it takes longer.
        """
        request = struct.pack(">iqiqi", 0, 0, 4000, 0x7FFFFFFF, 16) + bytes(17)
        try:
            with socket.create_connection((self.host, self.port), timeout=within_s) as sock:
                sock.sendall(struct.pack(">i", len(request)) + request)
                return len(sock.recv(4)) == 4
        except ConnectionError:
            return False

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def server(kind: str, data_dir: Path, **options: object) -> Server:
    """A server of any kind."""
    return Server(kind, data_dir, **options)  # type: ignore[arg-type]


def apache(data_dir: Path, **options: object) -> Server:
    """Apache's server."""
    return server("apache", data_dir, **options)


def zkpy(data_dir: Path, **options: object) -> Server:
    """This checkout's server."""
    return server("zkpy", data_dir, **options)
