"""An ensemble of real processes on this machine: started together or one by one, killed, and started again."""

import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.ports import free_ports
from tests.system.clients import TIMEOUT_S, Client
from tests.system.networks import Network
from tests.system.processes import ServerProcess

T = TypeVar("T")

#: How long an ensemble may take to agree; elections take a second where nothing else runs.
AGREE_S = 60.0


def until(what: Callable[[], T], timeout_s: float = AGREE_S) -> T:
    """Wait until `what()` is true, and give that; a refused or broken connection is not."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = what()
            if found:
                return found
        except (OSError, EOFError):
            pass
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)


def word(port: int, name: str, host: str = "127.0.0.1") -> str:
    """The answer to a four-letter word."""
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as sock:
        sock.sendall(name.encode())
        parts = []
        while part := sock.recv(1 << 16):
            parts.append(part)
    return b"".join(parts).decode()


class EnsembleProcesses:
    """So many members, each with a directory under `directory`; sids count from 1, the last ones are observers."""

    def __init__(
        self, directory: Path, voters: int = 3, observers: int = 0, network: Network | None = None, **config: str
    ) -> None:
        """With a `network` each member has a host of its own there."""
        count = voters + observers
        ports = free_ports(2 * count)
        hosts = {sid: network.address(sid) if network is not None else "127.0.0.1" for sid in range(1, count + 1)}
        lines = {
            f"server__{sid}": f"{host}:{ports[2 * sid - 2]}:{ports[2 * sid - 1]}"
            + (":observer" if sid > voters else "")
            for sid, host in hosts.items()
        }
        self.members: dict[int, ServerProcess] = {}
        for sid in range(1, count + 1):
            data_dir = directory / f"member{sid}"
            data_dir.mkdir()
            (data_dir / "myid").write_text(f"{sid}\n")
            limits = {"initLimit": "20", "syncLimit": "10", "clientPortAddress": hosts[sid]}
            member = self.members[sid] = ServerProcess(data_dir, **{**limits, **lines, **config})
            if network is not None:
                member.place = partial(network.inside, sid)

    def start(self) -> "EnsembleProcesses":
        """Start all and wait until all serve."""
        for member in self.members.values():
            member.start()
        self.agree()
        return self

    def agree(self) -> int:
        """Wait until all that run serve, under one leader; its sid."""
        return until(self._agreed)

    def mode(self, sid: int) -> str:
        """ "leader", "follower" or "observer"; empty while it does not serve."""
        for line in self.word(sid, "srvr").splitlines():
            if line.startswith("Mode: "):
                return line.removeprefix("Mode: ")
        return ""

    def running(self) -> list[int]:
        """The sids of those that run."""
        return [sid for sid, member in self.members.items() if member.is_alive()]

    def client(self, sid: int) -> Client:
        """A client with a session at this member."""
        member = self.members[sid]
        client = Client(member.port, member.host)
        client.connect()
        return client

    def word(self, sid: int, name: str) -> str:
        """This member's answer to a four-letter word."""
        member = self.members[sid]
        return word(member.port, name, member.host)

    def state(self, sid: int) -> tuple[str, str]:
        """The last zxid and how many nodes there are, as this member tells."""
        lines = dict(line.split(": ", 1) for line in self.word(sid, "srvr").splitlines() if ": " in line)
        return lines["Zxid"], lines["Node count"]

    def _agreed(self) -> int:
        modes = {sid: self.mode(sid) for sid in self.running()}
        leaders = [sid for sid, mode in modes.items() if mode == "leader"]
        return leaders[0] if len(leaders) == 1 and all(modes.values()) else 0

    def __enter__(self) -> "EnsembleProcesses":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for member in self.members.values():
            member.kill()
