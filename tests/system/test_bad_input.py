"""Every kind of bad input in `malformed`, against one server that has to live through all of them.

For each: what the sender sees, one line in the log where the server hangs up and none where it does not, and another
client, in a process of its own, that pings and reads meanwhile and never waits 100 ms (`Case.late_ms`). At the end the
server's memory is back where it was.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.clients import LENGTH, REPLY, TIMEOUT_S, Client, Probe, connected
from tests.system.malformed import ANSWERED, CASES, CLOSED, FRESH, REFUSED, WAITS, WORD, Case
from tests.system.processes import ServerProcess
from zkpy.proto import opcodes
from zkpy.proto.records import ConnectResponse, DeleteRequest

#: How the events that setWatches makes begin: xid and zxid -1.
EVENT = b"\xff" * 12
#: A late answer may be the machine's doing; what the input causes happens every time.
TRIES = 3
#: What may stay after all of it: freed memory that the allocator keeps, and what a million watches left in its pools.
RSS_SLACK_MB = 32


class Bench:
    """The server, the probe beside it, and how it all began."""

    def __init__(self, server: ServerProcess, probe: Probe) -> None:
        self.server = server
        self.probe = probe
        with connected(server.port) as client:
            assert client.create("/bad").err == 0
            assert client.create("/big", bytes(500_000)).err == 0
            for _ in range(200):  # whatever is made on first use
                client.get("/big")
        self.rss_mb = server.rss_mb()
        self.worst_ms: dict[str, float] = {}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory: Path = tmp_path_factory.mktemp("bad_input")
    with ServerProcess(directory / "data", maxSessionTimeout="20000") as server, Probe(server.port) as probe:
        yield Bench(server, probe)


def drain(client: Client, count: int) -> list[bytes]:
    """So many packets, events left out."""
    packets = []
    while len(packets) < count:
        packet = client.packet()
        if packet[:12] != EVENT:
            packets.append(packet)
    return packets


def count_frames(data: bytes) -> int:
    """How many frames there are in `data`."""
    at = count = 0
    while at < len(data):
        at += 4 + LENGTH.unpack_from(data, at)[0]
        count += 1
    return count


def suffer(port: int, case: Case, data: bytes) -> str:
    """Send one input and see what the case says must come of it; the connection's name in the log."""
    with Client(port) as client:
        if case.stage != FRESH:
            client.connect()
        client.send(data)
        if case.outcome in (CLOSED, WORD):
            client.rest()  # until the server hangs up
        elif case.outcome == REFUSED:
            answer = ConnectResponse.decode(client.packet(), 0)[0]
            assert (answer.session_id, answer.time_out) == (0, 0)
            assert client.rest() == b""
        elif case.outcome == WAITS:
            client.sock.settimeout(0.005)
            with pytest.raises(TimeoutError):
                client.packet()
        else:
            assert case.outcome == ANSWERED
            expected = count_frames(data)
            if case.stage == FRESH:
                greeting = ConnectResponse.decode(client.packet() + b"\0", 0)[0]
                assert greeting.session_id != 0
                expected -= 1
            codes = tuple(REPLY.unpack_from(packet)[2] for packet in drain(client, expected))
            if case.errors is not None:
                assert codes == case.errors
            assert client.ping().err == 0
        return client.address


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_server_takes_no_harm_from(case: Case, bench: Bench) -> None:
    server = bench.server
    inputs = case.inputs()
    before = 0
    worst_ms = 0.0
    for _ in range(TRIES):
        # The kernel gives ports again: only lines that are written from here on are about these connections.
        before = len(server.log())
        bench.probe.latencies_ms()
        addresses = [suffer(server.port, case, data) for data in inputs]
        worst_ms = bench.probe.worst_ms()
        if worst_ms < case.late_ms:
            break
    assert server.is_alive()
    assert worst_ms < case.late_ms, f"another client waited {worst_ms} ms"
    bench.worst_ms[case.name] = worst_ms

    # A line is written before the socket is closed or soon after: give it a moment, then it must be the only one.
    deadline = time.monotonic() + TIMEOUT_S
    while case.outcome == CLOSED and time.monotonic() < deadline:
        if all(f"client={address} " in server.log()[before:] for address in addresses):
            break
        time.sleep(0.01)
    lines = server.log()[before:].splitlines()
    for address in addresses:
        about = [line for line in lines if f"client={address} " in line]
        assert len(about) == (addresses.count(address) if case.outcome == CLOSED else 0), about
    assert not [line for line in server.log().splitlines() if line.startswith(("Traceback", " "))]


def test_all_that_leaves_no_memory_behind(bench: Bench) -> None:
    server = bench.server
    with connected(server.port) as client:
        # What the senders were allowed to create is no leak.
        for name in client.children("/bad"):
            assert client.call(opcodes.DELETE, DeleteRequest(f"/bad/{name}", -1)).err == 0
        for name in client.children("/"):
            if len(name) > 1000:
                assert client.call(opcodes.DELETE, DeleteRequest(f"/{name}", -1)).err == 0
        assert client.set("/bad").err == 0
    deadline = time.monotonic() + TIMEOUT_S
    while server.rss_mb() > bench.rss_mb + RSS_SLACK_MB and time.monotonic() < deadline:
        time.sleep(0.2)
    late = sorted(bench.worst_ms.items(), key=lambda item: -item[1])[:3]
    print(
        f"\n{len(bench.worst_ms)} kinds of bad input; memory {bench.rss_mb:.1f} MB before, {server.rss_mb():.1f} MB"
        f" after, {server.peak_rss_mb():.1f} MB at most; slowest answers to another client meanwhile: "
        + ", ".join(f"{ms:.0f} ms ({name})" for name, ms in late)
    )
    assert server.rss_mb() <= bench.rss_mb + RSS_SLACK_MB
    assert len(server.log_lines("forged")) <= 3, "each of these lines must be the server's own"
