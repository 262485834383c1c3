"""Partitions lose exactly what they should: a probe in front of the tests that rely on them."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.system.networks import Network, NetworkUnavailable

PORT = 5000
#: Far above what a datagram takes.
PATIENCE_S = 60.0


class Echoes:
    """On each host a socket that counts what datagrams it gets from whom."""

    def __init__(self, network: Network, count: int) -> None:
        self.network = network
        self.calls = 0
        self.socks: dict[int, socket.socket] = {}
        for host in range(1, count + 1):
            with network.inside(host):
                sock = self.socks[host] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((network.address(host), PORT))
            sock.settimeout(0.1)

    def heard(self, expected: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Everyone writes to everyone, until what is expected has arrived: (source, target) of all that has."""
        self.calls += 1
        found: set[tuple[int, int]] = set()
        deadline = time.monotonic() + PATIENCE_S
        while not found >= expected and time.monotonic() < deadline:
            for source, sock in self.socks.items():
                for target in self.socks.keys() - {source}:
                    sock.sendto(b"%d %d" % (self.calls, source), (self.network.address(target), PORT))
            for target, sock in self.socks.items():
                try:
                    while True:
                        call, source = map(int, sock.recv(32).split())
                        if call == self.calls:  # not what was on its way when something else was lost
                            found.add((source, target))
                except TimeoutError:
                    pass
        return found

    def close(self) -> None:
        for sock in self.socks.values():
            sock.close()


@pytest.mark.slow
def test_a_network_loses_one_way_what_it_is_told_to_lose_and_leaves_no_trace() -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    try:
        network = Network(3).open()
    except NetworkUnavailable as missing:
        assert os.readlink("/proc/thread-self/ns/net") == home
        pytest.skip(f"no partitions on this machine: {missing}")
    everyone = {(source, target) for source in (1, 2, 3) for target in (1, 2, 3) if source != target}
    with network:
        assert os.readlink("/proc/thread-self/ns/net") != home
        echoes = Echoes(network, 3)
        assert echoes.heard(everyone) == everyone
        network.lose([1], [2, 3])
        left = everyone - {(1, 2), (1, 3)}
        assert echoes.heard(left) == left
        network.lose([2], [1])
        left -= {(2, 1)}
        assert echoes.heard(left) == left
        network.heal()
        assert echoes.heard(everyone) == everyone
        seen = []
        thread = threading.Thread(target=lambda: seen.append(os.readlink("/proc/thread-self/ns/net")))
        thread.start()
        thread.join()
        assert seen == [os.readlink("/proc/thread-self/ns/net")], "threads that are started here are here"
        echoes.close()
    assert os.readlink("/proc/thread-self/ns/net") == home


def test_a_machine_without_the_program_ip_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkUnavailable, match="ip is not installed"):
        Network(1).open()
