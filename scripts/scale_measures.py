"""What scripts/scale measures, one function each: a place with a server in it goes in, figures come out.

A figure is a number, or a pair: the number at an empty server, and at one that holds what the measure is about.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench_servers import Failure, Process, close_session, cpu_seconds, first_session, free_ports, rss_mb
from scale_data import directory_of, make

from tests.system.clients import Client, Probe, connected, create, request
from zkpy.proto import opcodes
from zkpy.proto.records import DeleteRequest, GetDataRequest, MultiHeader, SetDataRequest

HERE = Path(__file__).resolve().parent

Figure = float | tuple[float, float]
Figures = dict[str, Figure]

SIZE = 100
WINDOW = 100
#: Requests whose median tells what one of them takes.
SAMPLE = 300
IDLE_S = 15.0
#: How long a server may take to come to rest.
REST_S = 30


class Place(Process):
    """A server of one kind, and what it takes to measure it."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        super().__init__(name, options.work / name, options)
        self.load_program = options.work / "bench_load"
        self.options = options
        self.start_s = 0.0

    def command(self, config: Path) -> list[str]:
        """zkpy runs with a stopwatch in it."""
        if self.name == "zkpy":
            return [self.options.python, str(HERE / "scale_server.py"), str(config), str(self.work / "report")]
        return super().command(config)

    @contextlib.contextmanager
    def running(self, data: Path | None = None, **config: object) -> Iterator[Place]:
        """The server over an empty directory, or a copy of `data`."""
        lines = "".join(f"{key}={value}\n" for key, value in config.items())
        (port,) = free_ports(1)
        try:
            self.prepare(port, lines, data)
            began_s = time.perf_counter()
            self.respawn()
            close_session(first_session(self))
            self.start_s = time.perf_counter() - began_s
            yield self
        finally:
            self.stop()

    def prepare(self, port: int, lines: str, data: Path | None) -> None:
        """An empty directory, or one that has the files of `data`, and the configuration."""
        shutil.rmtree(self.work, ignore_errors=True)
        if data is None:
            (self.work / "data").mkdir(parents=True)
        else:
            # No server changes a file that is there already.
            shutil.copytree(data, self.work / "data", copy_function=os.link)
        self.port = port
        (self.work / "zoo.cfg").write_text(
            f"tickTime=2000\ndataDir={self.work / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
            f"maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n{lines}"
        )

    def load(self, op: str, **arguments: int) -> dict[str, Any]:
        """Run bench_load, which is compiled when it is wanted first."""
        if not self.load_program.exists():
            compile_load(self.load_program)
        words = [f"{key}={value}" for key, value in {"port": self.port, "size": SIZE, **arguments}.items()]
        done = subprocess.run([str(self.load_program), f"op={op}", *words], capture_output=True, text=True, check=False)
        figures: dict[str, Any] = json.loads(done.stdout or "{}")
        if done.returncode or "error" in figures:
            raise Failure(f"{op}: {figures.get('error', done.stderr)}")
        return figures

    def rates(self) -> dict[str, float]:
        """Thousands of operations a second, for the usual ones."""
        shape = {"conns": 50, "inflight": 16, "ms": 1500, "warmup_ms": 500}
        return {op: self.load(op, **shape)["rate"] / 1000 for op in ("get", "set", "create")}

    def rates_when_empty(self) -> dict[str, float]:
        """The same of a server of its own, so that what it leaves in memory is in nobody's way."""
        with self.running():
            self.load("prepare")
            return self.rates()

    def stopwatch(self) -> dict[str, float]:
        """What the stopwatch in zkpy says since the last time; nothing for Apache."""
        if self.name != "zkpy":
            return {}
        report = self.work / "report"
        report.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        limit = time.monotonic() + 20
        while not report.exists():
            if time.monotonic() > limit:
                raise Failure("the stopwatch says nothing")
            time.sleep(0.01)
        said: dict[str, float] = json.loads(report.read_text())
        return said

    def snapshots(self) -> list[str]:
        """The names of the snapshots that it has."""
        return sorted(file.name for file in (self.work / "data" / "version-2").glob("snapshot.*"))

    def rest(self) -> None:
        """Wait until it writes no snapshot any more."""
        version_dir = self.work / "data" / "version-2"
        before: list[tuple[str, int]] = []
        limit = time.monotonic() + REST_S
        while time.monotonic() < limit:
            now = sorted((file.name, file.stat().st_size) for file in version_dir.iterdir())
            if now == before:
                return
            before = now
            time.sleep(1.5)

    def rss_mb(self) -> float:
        """Resident memory, in MB."""
        return rss_mb(self.pid)


def compile_load(program: Path) -> None:
    subprocess.run([os.environ.get("CC") or "cc", "-O2", "-o", str(program), str(HERE / "bench_load.c")], check=True)


class Holder:
    """Sessions held by another process; see scale_holder.py."""

    def __init__(self, port: int, count: int, timeout_ms: int) -> None:
        command = [sys.executable, str(HERE / "scale_holder.py"), str(port), str(count), str(timeout_ms)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def ask(self, words: str) -> Any:
        """Say this, and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failure("the process that holds sessions has ended")
        return line

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def pour(client: Client, packets: Iterator[bytes]) -> None:
    """Send all of them, some in flight at a time; each has to succeed."""
    while batch := [packet for _, packet in zip(range(WINDOW), packets, strict=False)]:
        client.send(*batch)
        for _ in batch:
            reply = client.reply()
            if reply.err:
                raise Failure(f"a request failed with {reply.err}")


def median_us(client: Client, packets: Iterator[bytes]) -> float:
    """The median time that one of them takes, one after the other."""
    times = []
    for packet in packets:
        began_s = time.perf_counter()
        client.send(packet)
        reply = client.reply()
        times.append(time.perf_counter() - began_s)
        if reply.err:
            raise Failure(f"a request failed with {reply.err}")
    return statistics.median(times) * 1e6


def turns(figures: Figures, place: Place, when: str) -> None:
    """Add what the stopwatch says."""
    said = place.stopwatch()
    if said:
        figures[f"longest turn {when}, ms"] = said["turn_ms"]
        figures[f"most processor time of a turn {when}, ms"] = said["turn_cpu_ms"]
        if said["snapshot_turn_ms"]:
            figures[f"longest turn {when}, beside a snapshot, ms"] = said["snapshot_turn_ms"]
            figures[f"most processor time of a turn {when}, beside a snapshot, ms"] = said["snapshot_turn_cpu_ms"]
        figures[f"longest garbage collection {when}, ms"] = said["collection_ms"]


def delete(xid: int, path: str) -> bytes:
    return request(xid, opcodes.DELETE, DeleteRequest(path, -1))


def get(xid: int, path: str) -> bytes:
    return request(xid, opcodes.GET_DATA, GetDataRequest(path, False))


def put(xid: int, path: str, data: bytes) -> bytes:
    return request(xid, opcodes.SET_DATA, SetDataRequest(path, data, -1))


# --- the measures ----------------------------------------------------------------------------------------------------


def znodes(place: Place) -> Figures:
    """Create a million of them, and see what everything costs then."""
    count = place.options.znodes
    figures: Figures = {}
    before = place.rates_when_empty()
    with place.running():
        place.load("prepare")
        idle_mb = place.rss_mb()
        place.stopwatch()
        with Probe(place.port) as probe:
            probe.latencies_ms()
            began_s = time.perf_counter()
            place.load("create", conns=50, inflight=16, count=count, keep=1, tag=1)
            figures["load, s"] = time.perf_counter() - began_s
            figures["slowest answer to another client during it, ms"] = probe.worst_ms()
            turns(figures, place, "during the load")
        figures["resident, MB"] = (idle_mb, place.rss_mb())
        figures["bytes per znode"] = (place.rss_mb() - idle_mb) * 1e6 / count
        place.rest()
        place.stopwatch()
        after = place.rates()
        for op, rate in before.items():
            figures[f"{op} 50x16, thousands a second"] = (rate, after[op])
        turns(figures, place, "of these")
    return figures


def recovery(place: Place) -> Figures:
    """Start over a snapshot of a million znodes and 100,000 txns; then be asked while snapshots are written."""
    options = place.options
    data = make(options.work / "million", znodes=options.znodes, in_each=1000, size=SIZE, txns=options.txns)
    figures: Figures = {}
    with place.running(snapCount=2000) as empty:
        empty_s, empty_mb = place.start_s, place.rss_mb()
        del empty
    with place.running(data, snapCount=2000):
        figures["start to serving, s"] = (empty_s, place.start_s)
        time.sleep(1)
        figures["resident, MB"] = (empty_mb, place.rss_mb())
        figures["bytes per znode"] = (place.rss_mb() - empty_mb) * 1e6 / (options.znodes + options.txns / 2)
        dice = random.Random(2)
        with connected(place.port, 60_000) as client, Probe(place.port) as probe:
            probe.latencies_ms()
            place.stopwatch()
            had = set(place.snapshots())
            limit = time.monotonic() + 60
            while len(set(place.snapshots()) - had) < 3 and time.monotonic() < limit:
                batch = [dice.randrange(options.znodes) for _ in range(20)]
                pour(client, (put(1, f"{directory_of(n // 1000)}/n{n:07}", bytes(SIZE)) for n in batch))
                time.sleep(0.005)
            figures["slowest answer while 3 snapshots were written, ms"] = probe.worst_ms()
        turns(figures, place, "meanwhile")
        figures["resident afterwards, MB"] = place.rss_mb()
    return figures


def children(place: Place) -> Figures:
    """100,000 children under one parent."""
    count = place.options.children
    figures: Figures = {}
    with place.running(), connected(place.port, 60_000) as client:
        pour(client, iter([create(1, "/few"), create(1, "/many"), create(1, "/warm")]))
        for _ in range(2):  # the first time warms up
            pour(client, (create(1, f"/warm/c{n:06}", bytes(SIZE)) for n in range(10_000)))
            pour(client, (delete(1, f"/warm/c{n:06}") for n in range(10_000)))
        began_s = time.perf_counter()
        place.stopwatch()
        pour(client, (create(1, f"/many/c{n:06}", bytes(SIZE)) for n in range(count)))
        figures["create them, s"] = time.perf_counter() - began_s

        def both(packet: Callable[[int, str], bytes], name: str) -> tuple[float, float]:
            few, many = (
                median_us(client, (packet(1, f"/{p}/{name}{n}") for n in range(SAMPLE))) for p in ("few", "many")
            )
            return few, many

        figures["create, us"] = both(lambda xid, path: create(xid, path, bytes(SIZE)), "x")
        figures["set, us"] = both(lambda xid, path: put(xid, path, bytes(SIZE)), "x")
        figures["delete, us"] = both(delete, "x")
        turns(figures, place, "of these")
        with Probe(place.port) as probe:
            probe.latencies_ms()
            times = []
            for path in ("/few", "/many"):
                one = []
                for _ in range(5):
                    began_s = time.perf_counter()
                    client.children(path)
                    one.append(time.perf_counter() - began_s)
                times.append(statistics.median(one) * 1000)
            figures["getChildren, ms"] = (times[0], times[1])
            figures["slowest answer to another client during getChildren, ms"] = probe.worst_ms()
        turns(figures, place, "with getChildren")
    return figures


def sessions(place: Place) -> Figures:
    """10,000 sessions that are connected and ping, and one node that they all watch."""
    count = place.options.sessions
    figures: Figures = {}
    before = place.rates_when_empty()
    with place.running():
        place.load("prepare")
        idle_mb = place.rss_mb()
        used, began_s = cpu_seconds(place.pid), time.perf_counter()
        with Holder(place.port, count, 30_000) as holder:
            figures["connect them all, s"] = time.perf_counter() - began_s
            figures["bytes per session"] = (place.rss_mb() - idle_mb) * 1e6 / count
            time.sleep(2)
            place.stopwatch()
            used, began_s = cpu_seconds(place.pid), time.perf_counter()
            time.sleep(IDLE_S)
            figures["share of a core while idle, %"] = (cpu_seconds(place.pid) - used) / IDLE_S * 100
            turns(figures, place, "while idle")
            after = place.rates()
            for op, rate in before.items():
                figures[f"{op} 50x16, thousands a second"] = (rate, after[op])
            place.stopwatch()
            with connected(place.port, 60_000) as client:
                took = []
                for number in range(3):
                    holder.ask("watch /bench/w")
                    place.stopwatch()
                    began_s = time.monotonic()
                    client.set("/bench/w", f"{number}".encode())
                    took.append(((time.monotonic() - began_s) * 1000, (holder.ask("fired")[1] - began_s) * 1000))
            figures["a set that all watch: its answer, ms"] = statistics.median(one for one, _ in took)
            figures["a set that all watch: the last event, ms"] = statistics.median(one for _, one in took)
            turns(figures, place, "of a fan-out")
    return figures


def watches(place: Place) -> Figures:
    """A million watches, of 100 clients: each on paths of its own, then all on the same ones."""
    count = place.options.watches
    clients = 100
    each = count // clients
    figures: Figures = {}
    before = place.rates_when_empty()
    for kind, name in (("own", "{client:02}-{number:06}"), ("same", "{number:06}")):
        with place.running():
            place.load("prepare")
            idle_mb = place.rss_mb()
            with contextlib.ExitStack() as stack:
                all_ = [stack.enter_context(connected(place.port, 40_000)) for _ in range(clients)]
                began_s = time.perf_counter()
                for at, client in enumerate(all_):
                    for other in all_:  # a minute is longer than a session may be silent
                        other.ping()
                    # exists, of nodes that are not there
                    for start in range(0, each, 1000):
                        paths = (
                            f"/w/{name.format(client=at, number=n)}" for n in range(start, min(start + 1000, each))
                        )
                        client.send(*(request(1, opcodes.EXISTS, GetDataRequest(path, True)) for path in paths))
                        for _ in range(min(1000, each - start)):
                            client.packet()
                figures[f"ask, {kind} paths, s"] = time.perf_counter() - began_s
                figures[f"bytes per watch, {kind} paths"] = (place.rss_mb() - idle_mb) * 1e6 / count
                for client in all_:
                    client.ping()
                place.stopwatch()
                after = place.rates()
                for op, rate in before.items():
                    figures[f"{op} 50x16, {kind} paths, thousands a second"] = (rate, after[op])
                turns(figures, place, f"of these, {kind} paths")
                with Probe(place.port) as probe:
                    probe.latencies_ms()
                    for client in all_:
                        client.close()
                    time.sleep(0.5)
                    figures[f"slowest answer while the watchers leave, {kind} paths, ms"] = probe.worst_ms()
                turns(figures, place, f"while the watchers leave, {kind} paths")
    return figures


def values(place: Place) -> Figures:
    """Values of a megabyte, the largest that jute.maxbuffer lets through."""
    size = 1_000_000
    figures: Figures = {}
    with place.running(), connected(place.port, 60_000) as client:
        pour(client, iter([create(1, "/small", bytes(SIZE)), create(1, "/large")]))
        pour(client, (put(1, "/small", bytes(SIZE)) for _ in range(5000)))
        large = put(1, "/large", bytes(size))
        pour(client, iter([large] * 20))
        place.stopwatch()
        with Probe(place.port) as probe:
            probe.latencies_ms()
            small_us = median_us(client, (put(1, "/small", bytes(SIZE)) for _ in range(SAMPLE)))
            figures["set, ms"] = (small_us / 1000, median_us(client, iter([large] * 100)) / 1000)
            small_us = median_us(client, (get(1, "/small") for _ in range(SAMPLE)))
            figures["get, ms"] = (small_us / 1000, median_us(client, (get(1, "/large") for _ in range(100))) / 1000)
            figures["slowest answer to another client meanwhile, ms"] = probe.worst_ms()
        turns(figures, place, "of these")
        figures["resident, MB"] = place.rss_mb()
    return figures


def multis(place: Place) -> Figures:
    """Multis of a thousand operations."""
    count = 1000
    figures: Figures = {}

    def multi(op: int, bodies: list[Any]) -> bytes:
        out = bytearray()
        for body in bodies:
            MultiHeader(op, False, -1).encode(out)
            body.encode(out)
        MultiHeader(-1, True, -1).encode(out)
        return request(1, opcodes.MULTI, bytes(out))

    with place.running(), connected(place.port, 60_000) as client:
        pour(client, iter([create(1, "/m")]))
        pour(client, (create(1, f"/m/n{n:04}", bytes(SIZE)) for n in range(count)))
        pour(client, (put(1, f"/m/n{n % count:04}", bytes(SIZE)) for n in range(10_000)))
        packet = multi(opcodes.SET_DATA, [SetDataRequest(f"/m/n{n:04}", bytes(SIZE), -1) for n in range(count)])
        pour(client, iter([packet] * 10))
        place.stopwatch()
        with Probe(place.port) as probe:
            probe.latencies_ms()
            began_s = time.perf_counter()
            pour(client, (put(1, f"/m/n{n % count:04}", bytes(SIZE)) for n in range(20_000)))
            alone_us = (time.perf_counter() - began_s) / 20_000 * 1e6
            figures["set, us an operation, alone and in a multi"] = (
                alone_us,
                median_us(client, iter([packet] * 40)) / count,
            )
            figures["slowest answer to another client meanwhile, ms"] = probe.worst_ms()
        turns(figures, place, "of these")
    return figures


def replay(place: Place) -> Figures:
    """Start over a log of a million txns."""
    options = place.options
    data = make(options.work / "log", znodes=1000, in_each=1000, size=SIZE, txns=options.replay)
    with place.running():
        empty_s, empty_mb = place.start_s, place.rss_mb()
    with place.running(data):
        return {"start to serving, s": (empty_s, place.start_s), "resident, MB": (empty_mb, place.rss_mb())}


MEASURES: dict[str, Callable[[Place], Figures]] = {
    one.__name__: one for one in (znodes, recovery, children, sessions, watches, values, multis, replay)
}
