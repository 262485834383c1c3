"""What a whole server process does at its limits: configured ones, the system's, and those of a disk or a directory."""

import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.clients import TIMEOUT_S, Client, connected, create, hello, request, word
from tests.system.processes import ServerProcess, StartError, Waiting
from zkpy.proto import opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import SetDataRequest


def refused(port: int) -> bool:
    """Does the server hang up on a new connection at once?"""
    with Client(port) as client:
        try:
            client.connect()
        except (EOFError, BrokenPipeError, ConnectionError):
            return True
        return False


def eventually(condition: Callable[[], bool], within_s: float = TIMEOUT_S) -> bool:
    """Does `condition()` come true?"""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# --- configured limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["maxClientCnxns", "maxCnxns"])
def test_one_connection_too_many_is_hung_up_on_and_said_so(key: str, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", **{key: "3"}) as server:
        clients = [connected(server.port) for _ in range(3)]
        assert refused(server.port)
        assert refused(server.port)
        lines = server.log_lines("too many connections")
        assert len(lines) == 2
        assert f"limit={key} max=3 client=127.0.0.1" in lines[0]
        clients[0].close()
        assert eventually(lambda: not refused(server.port))
        for client in clients[1:]:
            assert client.ping().err == 0
        assert "zk_connection_rejected\t2\n" in word(server.port, "mntr") or len(server.log_lines("too many")) > 2


def test_a_frame_of_exactly_jute_maxbuffer_is_the_longest(tmp_path: Path) -> None:
    limit = 5000

    def set_to(total: int) -> bytes:
        # Header, path, data and version make `total` bytes.
        return request(1, opcodes.SET_DATA, SetDataRequest("/a", bytes(total - 8 - 6 - 4 - 4), -1))

    for server in (
        ServerProcess(tmp_path / "by-flag", flags=f"-Djute.maxbuffer={limit}"),
        ServerProcess(tmp_path / "by-file", jute__maxbuffer=str(limit)),
    ):
        with server, connected(server.port) as client:
            assert client.create("/a").err == 0
            client.send(set_to(limit))
            assert client.reply().err == 0
            client.send(set_to(limit + 1))
            assert client.rest() == b""
            text = f"frame length {limit + 1} is not between 0 and {limit}"
            assert eventually(lambda server=server, text=text: text in server.log())


def test_writes_past_the_outstanding_limit_wait_and_are_all_answered_in_order(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", globalOutstandingLimit="2") as server:
        clients = [connected(server.port) for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(*(create(n, f"/w{number}-{n}") for n in range(1, 301)))
        for client in clients:
            replies = [client.reply() for _ in range(300)]
            assert [reply.xid for reply in replies] == list(range(1, 301))
            assert {reply.err for reply in replies} == {0}
        assert len(clients[0].children("/")) == 1 + 4 * 300


# --- the system's limits --------------------------------------------------------------------------------------------


def test_a_server_without_descriptors_keeps_some_for_its_files_and_takes_connections_again_later(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path / "data", max_files=64, snapCount="20") as server, connected(server.port) as client:
        assert server.process is not None
        stat = Path(f"/proc/{server.process.pid}/stat")
        began = time.monotonic()
        crowd = [Client(server.port) for _ in range(40)]
        for one in crowd:
            one.send(hello())
        assert eventually(lambda: "raise ulimit -n" in server.log())
        before = sum(map(int, stat.read_text().split()[13:15]))
        time.sleep(1.5)
        assert sum(map(int, stat.read_text().split()[13:15])) - before < 30, "it must not try again all the time"
        # Once when it begins, and once a second.
        assert len(server.log_lines("cannot accept")) <= 2 + time.monotonic() - began
        # There is room for new logs and snapshots.
        for number in range(100):
            assert client.create(f"/n{number}").err == 0
        assert eventually(lambda: "snapshot taken" in server.log())
        for one in crowd:
            one.close()
        assert eventually(lambda: not refused(server.port))


def test_a_disk_that_takes_no_more_ends_the_server_and_nothing_unwritten_was_acknowledged(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", preAllocSize="64")
    server.start()
    process = server.process
    assert process is not None
    with connected(server.port) as client:
        assert client.create("/a").err == 0
        # No file may grow past this from now on: to the server that is what a full disk is.
        hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (200_000, hard))
        acknowledged = []
        try:
            for number in range(10_000):
                client.send(create(number, f"/a/{number}", bytes(1000)))
                assert client.reply().err == 0
                acknowledged.append(number)
        except (EOFError, ConnectionError):
            pass
    assert 50 < len(acknowledged) < 1000
    assert process.wait(10) == 1
    assert "Traceback" not in server.log()
    assert server.log().splitlines()[-1].startswith("zkpy: ")
    assert "File too large" in server.log().splitlines()[-1]
    server.kill()

    with ServerProcess(tmp_path / "data") as again, connected(again.port) as client:
        there = set(map(int, client.children("/a")))
        assert not set(acknowledged) - there
        assert there <= {*acknowledged, len(acknowledged)}


# --- stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_the_server_cleanly(name: str, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    server.start()
    process = server.process
    assert process is not None
    with connected(server.port) as client:
        for number in range(100):
            assert client.create(f"/n{number}").err == 0
        began, waiting = time.monotonic(), Waiting(process.pid, os.getpid())
        process.send_signal(signal.Signals[name])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and can still be looked at
        assert time.monotonic() - began - waiting.seconds() < 1
        assert process.wait() == 0
        assert client.rest() == b""
    assert " ERROR " not in server.log()
    assert "Traceback" not in server.log()
    assert not list((tmp_path / "data" / "version-2").glob(".unfinished*"))
    server.kill()
    with server, connected(server.port) as client:
        assert len(client.children("/")) == 101


def test_a_server_stopped_while_it_writes_a_snapshot_leaves_no_half_of_it(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", snapCount="200")
    server.start()
    with connected(server.port) as client:
        packets = [create(number, f"/n{number}", bytes(20_000)) for number in range(1000)]
        client.send(*packets)
        for _ in packets:
            assert client.reply().err == 0
    assert server.stop() == 0
    assert not list((tmp_path / "data" / "version-2").glob(".unfinished*"))
    with server, connected(server.port) as client:
        assert len(client.children("/")) == 1001
        assert "cannot be loaded" not in server.log()


# --- what keeps it from starting --------------------------------------------------------------------------------------


def fails_to_start(server: ServerProcess) -> StartError:
    """The error of a server that must not start; it says what is wrong in one line, without a traceback."""
    with pytest.raises(StartError) as caught:
        server.start()
    server.kill()
    assert "Traceback" not in caught.value.log
    assert caught.value.log.splitlines()[-1].startswith("zkpy: ")
    return caught.value


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = fails_to_start(ServerProcess(tmp_path / "data", clientPort=str(port)))
    assert error.status == 1
    assert f"127.0.0.1:{port}: it is in use by another program: stop it, or choose another port" in error.log
    assert not (tmp_path / "data").exists(), "it must find out before it touches any data"


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    error = fails_to_start(ServerProcess(tmp_path / "data", clientPortAddress="192.0.2.1"))
    assert error.status == 1
    assert "cannot listen on 192.0.2.1:0: it is no address of this machine" in error.log


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    server = ServerProcess(tmp_path / "data", dataDir=str(tmp_path / "file" / "data"))
    error = fails_to_start(server)
    assert error.status == 3
    assert f"dataDir {tmp_path}/file/data/version-2 cannot be created: Not a directory" in error.log


def test_a_directory_that_may_not_be_made_is_not_made(tmp_path: Path) -> None:
    error = fails_to_start(ServerProcess(tmp_path / "data", datadir__autocreate="false"))
    assert error.status == 3
    assert "does not exist and datadir.autocreate is false: create it, or fix the path" in error.log
    assert not (tmp_path / "data").exists()


def test_a_directory_in_use_is_named_and_left_alone(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as first, connected(first.port) as client:
        assert client.create("/a").err == 0
        second = ServerProcess(tmp_path / "data")
        second.log_path = tmp_path / "second.log"
        error = fails_to_start(second)
        assert error.status == 3
        assert f"{tmp_path}/data/version-2 is in use by another zkpy server" in error.log
        assert client.create("/b").err == 0


# --- damaged files ----------------------------------------------------------------------------------------------------


def make_history(server: ServerProcess, writes: int = 200) -> list[Path]:
    """Start, write, kill; the logs, oldest first."""
    with server, connected(server.port) as client:
        for number in range(writes):
            assert client.create(f"/n{number:04}", b"data of %04d" % number).err == 0
    return sorted((server.data_dir / "version-2").glob("log.*"))


def test_a_log_damaged_in_its_middle_is_refused_with_file_offset_and_what_to_do(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    (log,) = make_history(server)
    data = bytearray(log.read_bytes())
    at = data.index(b"data of 0100")
    data[at] ^= 0x01
    log.write_bytes(data)
    error = fails_to_start(server)
    assert error.status == 3
    line = error.log.splitlines()[-1]
    offset = int(line.partition("offset ")[2].partition(":")[0])
    assert at - 200 < offset < at, "where the record begins"
    assert f"{log}, offset {offset}: the checksum of a record is wrong" in line
    assert "Restore the file from a backup" in line
    assert "move this file and all newer logs away and start again" in line
    # It has changed nothing: with the file whole again, all is there.
    data[at] ^= 0x01
    log.write_bytes(data)
    with server, connected(server.port) as client:
        assert len(client.children("/")) == 201


def test_a_torn_tail_is_no_damage(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", preAllocSize="0")
    (log,) = make_history(server)
    whole = log.read_bytes()
    log.write_bytes(whole[:-7])
    with server, connected(server.port) as client:
        names = client.children("/")
        assert len(names) == 200
        assert "n0198" in names
        assert "n0199" not in names


def test_a_damaged_newest_snapshot_is_told_of_and_an_older_one_used(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    make_history(server)
    server.start()  # takes a snapshot, as it has replayed something
    assert eventually(lambda: "snapshot taken" in server.log())
    server.stop()
    newest = max((tmp_path / "data" / "version-2").glob("snapshot.*"), key=lambda path: int(path.name[9:], 16))
    data = bytearray(newest.read_bytes())
    data[data.index(b"data of 0100")] ^= 0x01
    newest.write_bytes(data)
    with server, connected(server.port) as client:
        assert len(client.children("/")) == 201
        assert client.get("/n0100") == b"data of 0100"
    assert len(server.log_lines(f"a snapshot cannot be loaded: {newest}")) == 1


def test_a_handshake_works_over_whatever_a_file_called_log_holds(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    (log,) = make_history(server)
    (log.parent / "log.ffff").write_bytes(frame(b"garbage" * 100))
    error = fails_to_start(server)
    assert error.status == 3
    assert "log.ffff, offset 0: not a txn log" in error.log
