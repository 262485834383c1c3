"""`zkpy bench`: every shape against a server, nothing left behind whatever happens, and what it says of itself."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.test_serve import environ
from zkpy.cli import main
from zkpy.cli.bench.histogram import Histogram
from zkpy.cli.bench.interval import Interval
from zkpy.cli.bench.report import as_json, bar, histogram_lines, result_table
from zkpy.cli.bench.requests import HEADER, STAT, Names, Requests, requests_for
from zkpy.cli.bench.shapes import OPERATIONS, Shape, parse_shapes
from zkpy.cli.bench.wire import REPLY, Address, Connection, Connections
from zkpy.cli.connecting import CommandError, NotPermitted, Unavailable
from zkpy.proto import errors
from zkpy.proto import records as r
from zkpy.proto.frames import Framer
from zkpy.testing import Ensemble, Server

PATIENCE_S = 60.0
SHORT = ("--duration", "0.15", "--warmup", "0.02", "--nodes", "20")
#: How long to measure, until each shape has had an answer in its time: on a busy machine the first may come late.
DURATIONS = ("0.15", "2", "10", "30")

#: What stands behind the name of a shape in the table.
FIGURES = r" +[\d,]+( +[\d.-]+){5}( +\d+%){2}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for all of this; each test leaves it as it was."""
    with Server() as running:
        yield running


def bench(server: Server | Ensemble, *arguments: str) -> Result:
    """The command against it, in this process."""
    return CliRunner().invoke(main, ["bench", "--hosts", server.hosts, *arguments])


def bench_json(server: Server | Ensemble, *arguments: str) -> dict[str, Any]:
    """What it tells as JSON, of a run in which each shape had an answer."""
    told: dict[str, Any] = {}
    for duration in DURATIONS:
        result = bench(server, *SHORT, *arguments, "--json", "--duration", duration)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        if all(one["operations"] for one in told["shapes"]):
            break
    return told


def shell(server: Server | Ensemble, *words: str) -> str:
    """What the shell prints, its first line left out."""
    result = CliRunner().invoke(main, ["shell", "--hosts", server.hosts, *words])
    return result.output.partition("\n")[2].strip()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_shape_is_measured_and_nothing_is_left_behind(server: Server) -> None:
    shell(server, "create", "/mine", "kept")
    told = bench_json(server, "-c", "3", "-f", "4", "--path", "/mine/load", "--size", "5")
    assert [(one["name"], one["op"]) for one in told["shapes"]] == [
        ("get 3x4", "get"), ("set 3x4", "set"), ("create 3x4", "create"), ("mixed 3x4", "mixed"),
        ("session 3", "session"), ("watch 3", "watch"),
    ]  # fmt: skip
    for one in told["shapes"]:
        assert one["operations"] == sum(bucket["count"] for bucket in one["histogram"]) > 0
        assert one["rate"] == pytest.approx(one["operations"] / one["seconds"], rel=0.01)
        assert 0 < one["p50_ms"] <= one["p90_ms"] <= one["p99_ms"] <= one["p99.9_ms"] <= one["max_ms"]
        assert one["max_ms"] <= one["histogram"][-1]["up_to_ms"]
        assert one["own_cpu"] > 0
        assert one["is_own_limit"] == (one["waiting"] < 0.2 or one["own_cpu"] > 0.85)
    assert told["servers"][0]["mode"] == "standalone"
    assert told["servers"][0]["version"].startswith("3.9")
    assert shell(server, "ls", "-R", "/mine") == "/mine"
    assert shell(server, "get", "/mine") == "kept"
    shell(server, "delete", "/mine")


@pytest.mark.slow
def test_the_table_and_the_histogram_are_for_reading(server: Server) -> None:
    result = bench(server, *SHORT, "get:2x3", "session:1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{server.hosts} (3.9")
    assert lines[1] == "100 bytes of data, 20 nodes, 0.15 s each"
    assert lines[3].startswith("shape ")
    assert re.fullmatch(rf"get 2x3{FIGURES}", lines[4])
    assert re.fullmatch(rf"session 1{FIGURES}", lines[5])
    assert "latency of" not in result.stdout
    both = bench(server, *SHORT, "get:2x3", "session:1", "--histogram").stdout
    assert re.findall(r"latency of (.+), [\d,]+ operations", both) == ["get 2x3", "session 1"]
    assert "latency of get 2x3" in bench(server, *SHORT, "get:2x3").stdout


def test_a_shape_without_an_answer_has_no_latencies() -> None:
    interval = Interval(Shape("get", 2, 1), 0, 1.0, lambda interval: None)
    interval.begin()
    interval.now_ns = interval.until_ns
    interval.waited_ns = 1_000_000_000
    assert list(result_table([interval]))[1].split() == ["get", "2x1", "0", "-", "-", "-", "-", "-", "0%", "100%"]
    (told,) = as_json([], {}, [interval], [])["shapes"]
    assert (told["operations"], told["p50_ms"], told["max_ms"], told["histogram"]) == (0, None, None, [])


@pytest.mark.slow
def test_values_larger_than_what_is_received_at_once_come_whole(server: Server) -> None:
    told = bench_json(server, "--nodes", "2", "--size", "600000", "mixed:2x2", "watch:2", "create:1x1")
    assert all(one["operations"] for one in told["shapes"])


@pytest.mark.slow
def test_a_value_that_the_server_does_not_take_is_explained(server: Server) -> None:
    result = bench(server, *SHORT, "--nodes", "1", "--size", "1048576", "set:1x1")
    assert result.exit_code == 69
    assert "was lost (ConnectionLoss) while making nodes below /zkpy-bench" in result.stderr
    assert "jute.maxbuffer, by default 1 MB" in result.stderr
    assert shell(server, "ls", "/") == "[zookeeper]"


@pytest.mark.slow
def test_what_others_have_made_stays_as_it_is(server: Server) -> None:
    shell(server, "create", "/zkpy-bench", "of another")
    shell(server, "create", "/zkpy-bench/c00", "of another")
    result = bench(server, *SHORT, "create:1x1")
    assert result.exit_code == 1
    assert result.stderr == (
        "zkpy: /zkpy-bench is there already, not made by me: name another one with --path, or remove it (`zkpy shell"
        " deleteall /zkpy-bench`)\n"
    )
    assert shell(server, "get", "/zkpy-bench") == "of another"
    assert shell(server, "get", "/zkpy-bench/c00") == "of another"
    shell(server, "deleteall", "/zkpy-bench")
    shell(server, "create", "/zkpy-bench", "zkpy bench, process 1 on host, 123")
    assert "is there already, made by zkpy bench, process 1 on host:" in bench(server, *SHORT, "get:1x1").stderr
    shell(server, "delete", "/zkpy-bench")


@pytest.mark.slow
def test_a_connect_string_may_end_in_a_path(server: Server) -> None:
    shell(server, "create", "/app")
    hosts = f"{server.hosts}/app"
    result = CliRunner().invoke(main, ["bench", "--hosts", hosts, *SHORT, "create:2x2", "get:1x1", "watch:1"])
    assert result.exit_code == 0, result.output
    assert shell(server, "ls", "/app") == "[]"
    shell(server, "delete", "/app")
    result = CliRunner().invoke(main, ["bench", "--hosts", hosts, *SHORT, "get:1x1"])
    assert (result.exit_code, result.stderr) == (
        1, "zkpy: there is no parent for /app/zkpy-bench: make it, or see --path\n",
    )  # fmt: skip


@pytest.mark.slow
def test_what_an_acl_forbids_is_said_with_the_remedy(server: Server) -> None:
    shell(server, "create", "/shut")
    shell(server, "setAcl", "/shut", "world:anyone:r")
    result = bench(server, *SHORT, "--path", "/shut/load", "get:1x1")
    assert result.exit_code == 77
    assert f"{server.hosts} does not permit making /shut/load: give credentials with --auth" in result.stderr
    shell(server, "delete", "/shut")
    for shape in ("session:1", "get:1x1"):
        refused = bench(server, *SHORT, "--auth", "nosuch:me", shape)
        assert refused.exit_code == 77
        assert refused.stderr.startswith(f"zkpy: {server.hosts} does not accept these credentials: see --auth")
        assert refused.stderr.count("\n") == 1
    allowed = bench_json(server, "--auth", "digest:me:secret", "session:2", "get:2x1")
    assert [one["operations"] > 0 for one in allowed["shapes"]] == [True, True]


@pytest.mark.slow
def test_a_server_of_several_that_does_not_listen_is_left_out(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = f"127.0.0.1:{free.getsockname()[1]}"
        alone = CliRunner().invoke(main, ["bench", "--hosts", silent])
        assert alone.exit_code == 69
        assert alone.stderr.startswith(f"zkpy: nobody listens on {silent}: start a server (`zkpy serve`)")
        result = CliRunner().invoke(main, ["bench", "--hosts", f"{silent},{server.hosts}", *SHORT, "get:2x1", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [one["name"] for one in told["servers"]] == [server.hosts]
    assert told["notes"] == [f"{silent} was left out: Connection refused"]
    assert result.stderr == f"zkpy: {silent} was left out: Connection refused\n"


@pytest.mark.slow
def test_the_members_of_an_ensemble_share_the_connections() -> None:
    with Ensemble(3) as ensemble:
        told = bench_json(ensemble, "get:6x1", "create:3x2", "watch:3")
        assert [one["name"] for one in told["servers"]] == ensemble.hosts.split(",")
        assert sorted(one["mode"] for one in told["servers"]) == ["follower", "follower", "leader"]
        assert all(one["operations"] for one in told["shapes"])
        assert shell(ensemble, "ls", "/") == "[zookeeper]"


@pytest.mark.slow
def test_a_limit_of_connections_is_named() -> None:
    with Server(max_client_cnxns=3) as server:
        result = bench(server, *SHORT, "get:5x1")
        assert result.exit_code == 69
        assert re.match(rf"zkpy: {server.hosts} gave no session to connection \d of 5 \(", result.stderr)
        assert "maxClientCnxns, 60 by default" in result.stderr
        assert shell(server, "ls", "/") == "[zookeeper]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "name"), [("create:2x4", "create 2x4"), ("session:2", "session 2"), ("watch:2", "watch 2")]
)
def test_a_connection_lost_in_the_middle_ends_it_and_what_was_made_goes(server: Server, shape: str, name: str) -> None:
    def restart() -> None:
        wait_for(lambda: server.has_load)
        server.restart()

    server.has_load = False
    begun = Interval.begin

    def begin(interval: Interval) -> None:
        begun(interval)
        server.has_load = True

    thread = threading.Thread(target=restart)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interval, "begin", begin)
        result = bench(server, shape, "--duration", "60", "--warmup", "0", "--nodes", "5")
    thread.join()
    assert result.exit_code == 69
    assert re.fullmatch(rf"zkpy: the connection to \S+ was lost in the middle: .+ \({name}\)\n", result.stderr)
    assert shell(server, "ls", "/") == "[zookeeper]"


class Benching:
    """A process of `zkpy bench` with its stderr on a terminal; a context manager."""

    def __init__(self, server: Server, *arguments: str) -> None:
        self.terminal, theirs = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zkpy", "bench", "--hosts", server.hosts, "--nodes", "20", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=environ(server.config.data_dir),
        )  # fmt: skip
        os.close(theirs)

    def await_shown(self, text: str) -> None:
        """Until the terminal has shown this."""
        wait_for(lambda: self._read() and text in self.shown)

    def _read(self) -> bool:
        try:
            self.shown += os.read(self.terminal, 65536).decode()
        except OSError:
            raise AssertionError(f"it has ended: {self.shown!r}") from None
        return True

    def end(self) -> tuple[int, str]:
        """Its exit status and stdout."""
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out.decode()

    def __enter__(self) -> "Benching":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self.terminal)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_it_with_what_was_measured_and_nothing_left(
    server: Server, number: signal.Signals, status: int
) -> None:
    with Benching(server, "create:2x8", "set:1x1", "--duration", "600", "--warmup", "0") as benching:
        benching.await_shown("/s, p50 ")
        assert "[1/2] create 2x8 " in benching.shown
        benching.process.send_signal(number)
        ended, out = benching.end()
    assert ended == status
    assert re.search(rf"^create 2x8{FIGURES}$", out, re.MULTILINE)
    assert "set 1x1" not in out
    assert shell(server, "ls", "/") == "[zookeeper]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gett",), "unknown shape 'gett'; known: get, set, create, mixed, session, watch"),
        (("get:",), "'' is not CONNECTIONS or CONNECTIONSxINFLIGHT"),
        (("get:0x1",), "'0x1': 1 to 20000 connections, 1 to 255 in flight"),
        (("get:1x256",), "'1x256': 1 to 20000 connections, 1 to 255 in flight"),
        (("session:1x1",), "'session:1x1': session has connections, and nothing in flight"),
        (("--path", "load"), "--path"),
        (("--path", "/"), "the root is always there: name a node that is not"),
        (("--duration", "0"), "--duration"),
    ],
)
def test_a_wrong_call_is_explained(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_bare_operation_has_the_sizes_of_the_options() -> None:
    sizes = {op: ["7x2", "9x2"] for op in OPERATIONS}
    assert parse_shapes(["get", " set:1"], sizes, 10) == [Shape("get", 7, 2), Shape("get", 9, 2), Shape("set", 1, 1)]


# --- what comes from a server is not trusted -------------------------------------------------------------------------

REQUESTS = Requests([b"request"] * 3, [HEADER + 4] * 3)
ADDRESS = Address("there:2181", socket.AF_INET, ("127.0.0.1", 2181))


def reply(xid: int, code: int = 0, body: bytes = b"body") -> bytes:
    return REPLY.pack(HEADER + len(body), xid, 7, code) + body


def taken(data: bytes, in_flight: int = 3) -> tuple[int, Connection]:
    """How many replies were taken, and the connection afterwards."""
    connections = Connections([ADDRESS], [], 1)
    (one,) = connections.all
    one.in_flight = in_flight
    count = connections.replies(one, memoryview(data), REQUESTS, "get requests")
    connections.abandon()
    return count, one


def test_replies_are_taken_in_order_and_a_half_one_is_held() -> None:
    data = reply(1) + reply(2) + reply(3)
    for end in range(len(data) + 1):
        count, one = taken(data[:end])
        assert count == end // 24
        assert one.held == data[count * 24 : end]
        assert (one.in_flight, one.received_at) == (3 - count, count % 3)
        if one.held:
            assert one.needed in (20, 24)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (reply(2), CommandError, "gave a wrong answer: reply 2 of 20 bytes, and reply 1 of 20 was due (get requests)"),
        (reply(1) + reply(1), CommandError, "reply 1 of 20 bytes, and reply 2 of 20 was due"),
        (reply(1, body=b"longer"), CommandError, "reply 1 of 22 bytes, and reply 1 of 20 was due"),
        (reply(1, errors.NOAUTH, b""), NotPermitted, "does not permit get requests: give credentials with --auth"),
        (reply(1, errors.SESSIONEXPIRED, b""), Unavailable, "was lost (SessionExpiredError) while get requests"),
        (reply(1, errors.NONODE, b""), CommandError, "refused get requests: NONODE (-101)"),
    ],
)
def test_a_reply_that_is_wrong_ends_it(data: bytes, kind: type[CommandError], said: str) -> None:
    with pytest.raises(click.ClickException) as caught:
        taken(data)
    assert type(caught.value) is kind
    assert "there:2181" in caught.value.message
    assert said in caught.value.message


def test_a_reply_to_no_request_ends_it() -> None:
    with pytest.raises(CommandError, match="2 replies to 1 requests"):
        taken(reply(1) + reply(2), in_flight=1)


# --- what is sent ----------------------------------------------------------------------------------------------------


def sent(requests: Requests, counts: list[int]) -> list[bytes]:
    """The frames that a connection sends in so many pieces."""
    connections = Connections([ADDRESS], [], 1)
    (one,) = connections.all
    ours, theirs = socket.socketpair()
    one.sock = ours
    one.block = requests.block()
    one.sent_at = requests.start()
    data = b""
    with theirs:
        for count in counts:
            connections.send(one, count, requests, 0)
            data += theirs.recv(1 << 20)
    connections.abandon()
    return Framer().feed(data)


def test_a_create_never_comes_twice_and_its_parents_take_turns() -> None:
    names = Names("/load", 10)
    requests = requests_for("create", names, 10, 5)
    bodies = sent(requests, [1, 5, requests.length, requests.length - 6, 3])
    paths = []
    for number, body in enumerate(bodies):
        header, at = r.RequestHeader.decode(body)
        assert header.xid == number % requests.length + 1
        record = r.CreateRequest.decode(body, at)[0]
        assert record.path is not None
        assert record.data == b"x" * 10
        paths.append(record.path)
    assert len(bodies) == 2 * requests.length + 3 == len(set(paths))
    assert {path.rpartition("/")[0] for path in paths} == set(names.parents)


def test_mixed_is_nine_gets_to_one_set_and_each_reply_is_known() -> None:
    requests = requests_for("mixed", Names("/load", 1000), 100, 16)
    gets = requests.reply_lengths.count(HEADER + 4 + 100 + STAT)
    assert gets + requests.reply_lengths.count(HEADER + STAT) == requests.length == 4000
    assert 0.85 < gets / requests.length < 0.95


# --- figures ---------------------------------------------------------------------------------------------------------


def test_percentiles_are_within_two_percent_of_the_truth() -> None:
    histogram = Histogram()
    for us in range(1, 10_001):
        histogram.add(us * 1000)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        assert histogram.percentile(share) == pytest.approx(share * 10_000_000, rel=0.016)
    assert histogram.percentile(1.0) <= histogram.max_ns == 10_000_000
    assert sum(count for _, count in histogram.rows(16)) == histogram.total == 10_000
    assert len(histogram.rows(16)) <= 16
    assert Histogram().percentile(0.5) == 0
    assert Histogram().rows(16) == []


def test_each_number_is_in_its_bucket() -> None:
    for ns in [*range(300), 1 << 20, (1 << 20) + 12345, (1 << 62) + 1]:
        histogram = Histogram()
        histogram.add(ns, 3)
        ((begin, end, count),) = histogram.buckets()
        assert begin <= ns < end
        assert count == 3
        assert end - begin <= max(1, begin / 64)


def measured(waiting: float, own_cpu: float = 0.8) -> Any:
    """An interval of a second, at 10 operations."""
    interval = Interval(Shape("get", 2, 1), 0, 1.0, lambda interval: None)
    interval.begin()
    interval.now_ns = interval.until_ns
    for number in range(10):
        interval.record(interval.from_ns, 1_000_000 * (1 + number % 2))
    interval.waited_ns, interval.own_cpu_ns = round(waiting * 1e9), round(own_cpu * 1e9)
    return interval


def test_it_says_when_it_was_the_limit_itself() -> None:
    said = list(result_table([measured(0.5), measured(0.05)]))
    assert said[1].split() == ["get", "2x1", "10", "2.00", "2.00", "2.00", "2.00", "2.00", "80%", "50%"]
    assert said[-2].startswith("! get 2x1: zkpy bench itself was the limit, and hardly ever waited for the servers.")
    assert said[-1].startswith("! get 2x1: zkpy bench itself had a part in it (see own CPU).")
    assert measured(0.5, own_cpu=0.9).is_own_limit
    assert not any(line.startswith("!") for line in result_table([measured(0.5, own_cpu=0.4)]))


def test_a_histogram_shows_how_many_took_how_long() -> None:
    lines = list(histogram_lines(measured(0.5)))
    assert lines[0] == "latency of get 2x1, 10 operations"
    assert [line.split()[-2:] for line in lines[1:]] == [
        ["50.00%", "50.00%"], ["0.00%", "50.00%"], ["0.00%", "50.00%"], ["0.00%", "50.00%"], ["50.00%", "100.00%"],
    ]  # fmt: skip
    assert [line.count("█") for line in lines[1:]] == [40, 0, 0, 0, 40]
    assert (bar(0.5, 3), bar(0.0, 3), bar(1.0, 3)) == ("█▌", "", "███")


def test_what_is_outside_of_the_interval_does_not_count() -> None:
    interval = measured(0.5)
    interval.record(interval.from_ns - 1, 1000)
    interval.record(interval.until_ns, 1000)
    assert interval.histogram.total == 10
    assert interval.rate == pytest.approx(10)
