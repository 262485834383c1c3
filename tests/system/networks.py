"""A network of its own for each member, and a router between them that loses what it is told to lose.

    this thread, its clients ─┐
    member 1 ── 10.77.1.0/24 ─┤
    member 2 ── 10.77.2.0/24 ─┼─ router: `ip rule add iif v1 to 10.77.2.2 blackhole` loses what 1 sends to 2,
    member 3 ── 10.77.3.0/24 ─┘          and nobody is told

Network namespaces of Linux: those who are inside see no other network, and all of it is gone with the processes that
are in it. Inside the `with` this thread is in the router, and so is each thread and process that it starts; a member is
started `inside` its own. Clients reach every member whatever is lost between members.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

CLONE_NEWNET: Final = 0x40000000
_HERE: Final = "/proc/thread-self/ns/net"


class NetworkUnavailable(Exception):
    """This machine does not let us have such networks; the text says what is missing."""


class Network:
    """Hosts numbered from 1 to `count`, each reachable from all; once open, a context manager that closes it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._home = self._router = -1
        self._hosts: dict[int, int] = {}
        self._lost: set[tuple[int, int]] = set()

    def address(self, host: int) -> str:
        """Where this host is."""
        return f"10.77.{host}.2"

    @contextmanager
    def inside(self, host: int) -> Iterator[None]:
        """Be in this host's network for a while, to start a process there."""
        self._go(self._hosts[host])
        try:
            yield
        finally:
            self._go(self._router)

    def lose(self, sources: Iterable[int], targets: Iterable[int]) -> None:
        """From now on nothing that one of `sources` sends comes to one of `targets`; the other way is as it was."""
        targets = list(targets)
        for source in sources:
            for target in targets:
                if source != target and (source, target) not in self._lost:
                    self._lost.add((source, target))
                    _ip(f"rule add {self._rule(source, target)}")

    def heal(self) -> None:
        """Lose nothing any more."""
        while self._lost:
            _ip(f"rule del {self._rule(*self._lost.pop())}")

    def _rule(self, source: int, target: int) -> str:
        return f"iif v{source} to {self.address(target)} blackhole"

    def _go(self, namespace: int) -> None:
        if self._libc.setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def _new(self) -> int:
        """A new network, which this thread is in then."""
        if self._libc.unshare(CLONE_NEWNET):
            why = os.strerror(ctypes.get_errno())
            raise NetworkUnavailable(f"network namespaces need Linux and the rights of root (unshare: {why})")
        return os.open(_HERE, os.O_RDONLY)

    def open(self) -> "Network":
        """Make them. Raises NetworkUnavailable."""
        if shutil.which("ip") is None:
            raise NetworkUnavailable("the program ip is not installed (package iproute2)")
        self._home = os.open(_HERE, os.O_RDONLY)
        try:
            self._router = self._new()
            _ip("link set lo up")
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            for host in range(1, self._count + 1):
                self._hosts[host] = self._new()
                _ip("link set lo up")
                _ip(f"link add eth0 type veth peer name v{host} netns /proc/self/fd/{self._router}", self._router)
                _ip(f"addr add {self.address(host)}/24 dev eth0")
                _ip("link set eth0 up")
                self._go(self._router)
                _ip(f"addr add 10.77.{host}.1/24 dev v{host}")
                _ip(f"link set v{host} up")
                with self.inside(host):
                    _ip(f"route add default via 10.77.{host}.1")
        except (NetworkUnavailable, OSError) as error:
            self._leave()
            if isinstance(error, OSError):
                raise NetworkUnavailable(str(error)) from error
            raise
        return self

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self._go(self._home)
        for namespace in (self._home, self._router, *self._hosts.values()):
            if namespace >= 0:
                os.close(namespace)
        self._home = self._router = -1
        self._hosts.clear()


def _ip(arguments: str, fd: int = -1) -> None:
    """Run ip in the network that this thread is in; it may use the descriptor `fd`."""
    command = ["ip", *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, pass_fds=[fd] if fd >= 0 else [], timeout=30)
    if done.returncode:
        raise NetworkUnavailable(f"ip {arguments}: {done.stderr.strip()}")
