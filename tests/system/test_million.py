"""A million znodes of 100 bytes: loaded, served, and written to a snapshot without anybody having to wait for it.

No answer comes before the turn that it waits for is over, so the slowest answer bounds the longest turn.
"""

import random
import statistics
import time
from pathlib import Path

import pytest

from tests.system.clients import Client, Probe, connected, request, word
from tests.system.processes import ServerProcess
from tests.system.trees import IN_EACH, SIZE, data_of, make_data_dir
from zkpy.proto import opcodes
from zkpy.proto.records import GetDataRequest, SetDataRequest

DIRECTORIES = 1000
#: How many snapshots are taken, and what the slowest answer during one may take.
SNAPSHOTS = 3
LONGEST_TURN_MS = 50
#: Generous: what this bounds is a load that does something silly for each znode.
LOAD_S = 60
BYTES_PER_ZNODE = 1000


def check_some(client: Client, changed: dict[str, bytes]) -> None:
    """Read znodes at random, all that were changed, and one directory."""
    dice = random.Random(1)
    expected = dict(changed)
    for _ in range(2000):
        directory, number = dice.randrange(DIRECTORIES), dice.randrange(IN_EACH)
        expected.setdefault(f"/d{directory:03}/n{number:03}", data_of(directory, number))
    for path, data in expected.items():
        assert client.get(path) == data
    assert len(client.children("/d500")) == IN_EACH


@pytest.mark.slow
def test_a_million_znodes_load_and_a_snapshot_of_them_holds_nobody_up(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    make_data_dir(data_dir, DIRECTORIES)
    config = {"snapCount": "2000", "autopurge__purgeInterval": "0", "maxSessionTimeout": "60000"}
    changed: dict[str, bytes] = {}
    with ServerProcess(data_dir, **config) as server:
        load_s, rss_mb = server.start_s, server.rss_mb()
        assert f"Node count: {DIRECTORIES * (IN_EACH + 1) + 5}\n" in word(server.port, "srvr")
        with connected(server.port, 60_000) as client:
            check_some(client, changed)
            client.get("/d000/n000")
            worst_ms: list[float] = []
            with Probe(server.port) as probe:
                probe.latencies_ms()
                began = time.monotonic()
                while len(worst_ms) < SNAPSHOTS:
                    assert time.monotonic() - began < 100
                    # Writes go on while it is written: some before the walk comes by, some after.
                    packets = []
                    for number in range(20):
                        path = f"/d{random.randrange(DIRECTORIES):03}/n{random.randrange(IN_EACH):03}"
                        changed[path] = f"{len(worst_ms)} {time.monotonic()}".encode()
                        packets.append(request(number, opcodes.SET_DATA, SetDataRequest(path, changed[path], -1)))
                    client.send(*packets)
                    for _ in packets:
                        assert client.reply().err == 0
                    if len(server.log_lines("snapshot taken")) > len(worst_ms):
                        worst_ms.append(probe.worst_ms())
                    time.sleep(0.005)
            asked = time.perf_counter()
            client.send(*(request(n, opcodes.GET_DATA, GetDataRequest("/d001/n001", False)) for n in range(1000)))
            for _ in range(1000):
                client.reply()
            read_us = (time.perf_counter() - asked) * 1000
        took = [line.rpartition("took_ms=")[2] for line in server.log_lines("snapshot taken")]
        peak_mb = server.peak_rss_mb()
        server.kill()

        # What was written meanwhile is a snapshot: alone and with the log behind it, it gives the same tree.
        server.start()
        assert f"Node count: {DIRECTORIES * (IN_EACH + 1) + 5}\n" in word(server.port, "srvr")
        with connected(server.port) as client:
            check_some(client, changed)
        assert "Digests are not matching" not in server.log()
        assert "cannot be loaded" not in server.log()
        print(
            f"\n{DIRECTORIES * IN_EACH} znodes of {SIZE} bytes: serving {load_s:.1f} s after the start,"
            f" {server.start_s:.1f} s from its own snapshot; {rss_mb:.0f} MB ({peak_mb:.0f} MB at most); a read takes"
            f" {read_us:.0f} us; snapshots of {', '.join(took)} ms, the slowest answer to another client meanwhile"
            f" {', '.join(map(str, worst_ms))} ms"
        )
    assert load_s < LOAD_S
    assert rss_mb * 1e6 / (DIRECTORIES * IN_EACH) < BYTES_PER_ZNODE
    # The machine may hold one of them up; the server's own stalls would show every time.
    assert statistics.median_low(worst_ms) < LONGEST_TURN_MS
