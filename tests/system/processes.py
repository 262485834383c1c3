"""Servers as real processes: started from a zoo.cfg, asked for port, memory and log, stopped or killed.

Every server listens on 127.0.0.1, unless told otherwise, on a port that the kernel chooses and the server's first line
of output names.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tests.system.slow_sync import SlowSync

ROOT = Path(__file__).resolve().parents[2]

#: What every server of these tests is told unless the test says otherwise.
DEFAULTS = {
    "tickTime": "500",
    "clientPort": "0",
    "clientPortAddress": "127.0.0.1",
    "maxClientCnxns": "0",
    "4lw.commands.whitelist": "*",
    "admin.enableServer": "false",
    "preAllocSize": "1024",
}
SERVING = re.compile(r"zkpy (?:serving|member \d+ of \d+) on [0-9.]+:(\d+) \(data in (.+)\)\n")

#: Far above what a start takes; a server that needs longer hangs.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


def has_output(pipe: IO[Any], within_s: float) -> bool:
    """Does something come out of `pipe`, or its end? (poll, as a flood leaves descriptors too large for select.)"""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _stands(thread: Path) -> bool:
    """Is this thread (a directory of /proc) stopped, or gone?"""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in ("T", "Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


class Waiting:
    """How long threads of these processes are ready to run from now on and have no processor, all together.

    What is too late by no more than that is the machine's doing, which has other work. 0 where Linux does not count it.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._before = self._read(pids)

    def seconds(self, *born: int) -> float:
        """Until now, with those processes that were born since."""
        found = self._read((*self._pids, *born))
        return sum(now_ns - self._before.get(thread, 0) for thread, now_ns in found.items()) / 1e9

    def _read(self, pids: tuple[int, ...]) -> dict[Path, int]:
        found: dict[Path, int] = {}
        for pid in pids:
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):  # it has ended
                    found[thread] = int(thread.read_text().split()[1])
        return found


class StartError(Exception):
    """The process ended instead of serving."""

    def __init__(self, status: int, log: str) -> None:
        super().__init__(f"exit status {status}:\n{log[-3000:]}")
        self.status = status
        self.log = log


class ServerProcess:
    """One data directory and the server over it; a context manager that starts and stops it."""

    def __init__(
        self, data_dir: Path, *, flags: str = "", max_files: int = 0, disk: SlowSync | None = None, **config: str
    ) -> None:
        """`flags` are -D options; `config` overrides DEFAULTS, a dot in a key written as two underscores.

        `max_files`: how many file descriptors it may have, 0 for as many as this process. `disk`: in place of a real
        one.
        """
        self.data_dir = data_dir
        self.max_files = max_files
        self.disk = disk
        self.flags = flags
        self.config = {**DEFAULTS, "dataDir": str(data_dir), **{k.replace("__", "."): v for k, v in config.items()}}
        self.config_path = data_dir.parent / f"{data_dir.name}.cfg"
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        #: Where it listens for clients; and what to be inside of while it is started.
        self.host = self.config["clientPortAddress"]
        self.port = 0
        self.place: Callable[[], AbstractContextManager[None]] = nullcontext
        #: How long the last start took, from the call to the line that says it serves.
        self.start_s = 0.0

    def start(self) -> "ServerProcess":
        """Start it and wait until it serves. Raises StartError if it ends instead."""
        assert self.process is None
        self.config_path.write_text("".join(f"{key}={value}\n" for key, value in self.config.items()))
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "SERVER_JVMFLAGS": self.flags, "JVMFLAGS": ""}
        zkpy = [sys.executable, "-m", "zkpy"] if self.disk is None else self.disk.command()
        command = [*zkpy, "serve", str(self.config_path)]
        if self.max_files:
            command = ["sh", "-c", f'ulimit -n {self.max_files} && exec "$@"', "sh", *command]
        began = time.perf_counter()
        with self.log_path.open("ab") as log, self.place():
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environ,
            )
        output = self.process.stdout
        assert output is not None
        line = output.readline().decode() if has_output(output, START_TIMEOUT_S) else "(nothing)"
        self.start_s = time.perf_counter() - began
        found = SERVING.fullmatch(line)
        if found is None:
            status = self.kill() if line else self._end(0)
            raise StartError(status, self.log() + line)
        self.port = int(found[1])
        return self

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL; the exit status."""
        return self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP, and wait until every thread stands still."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not all(_stands(thread) for thread in Path(f"/proc/{self.process.pid}/task").iterdir()):
            assert time.monotonic() < deadline, "it does not stop"
            time.sleep(0.002)

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def is_alive(self) -> bool:
        """Is the process there?"""
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """All that it wrote to stderr, over all starts."""
        return self.log_path.read_text(errors="replace")

    def log_lines(self, part: str) -> list[str]:
        """The log's lines that hold `part`."""
        return [line for line in self.log().splitlines() if part in line]

    def rss_mb(self) -> float:
        """Resident memory now, in MB."""
        return self._status("VmRSS") / 1024

    def peak_rss_mb(self) -> float:
        """The most resident memory so far, in MB."""
        return self._status("VmHWM") / 1024

    def descriptors(self) -> int:
        """How many file descriptors are open."""
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _status(self, name: str) -> int:
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    def _end(self, signal_number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        if signal_number:
            process.send_signal(signal_number)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()

    def __enter__(self) -> "ServerProcess":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
