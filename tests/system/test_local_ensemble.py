"""`zkpy serve --ensemble`: one line once clients can come, no process left behind, and an end when a member ends."""

import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import ports
from tests.system.clients import Client
from tests.system.ensembles import until
from tests.system.processes import ROOT, START_TIMEOUT_S

STOP_S = 30


@contextmanager
def running(data_dir: Path, port: int, count: int = 3) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "zkpy", "serve", "--ensemble", str(count)]
    command += ["--port", str(port), "--data-dir", str(data_dir)]
    with (data_dir.parent / "ensemble.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(STOP_S)
        assert process.stdout is not None
        process.stdout.close()


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    ready = select.poll()
    ready.register(process.stdout, select.POLLIN)
    assert ready.poll(START_TIMEOUT_S * 1000), "it says nothing"
    return process.stdout.readline().decode()


def members_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The process ids of the members."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def base_port() -> int:
    """A port from which on an ensemble's members find theirs free.

    Below those that clients get: one of theirs that was closed a moment ago cannot be listened on, and an earlier test
    may have left ten thousand.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    dice = random.Random()
    while True:
        port = dice.randrange(10_000, lowest - 300)
        if all(ports.is_free(port + offset + n) for offset in (0, 100, 200) for n in range(3)):
            return port


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_ensemble_says_where_it_serves_and_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    port = base_port()
    data_dir = tmp_path / "data"
    for expected in ([], ["kept"]):
        with running(data_dir, port) as process:
            hosts = ",".join(f"127.0.0.1:{port + n}" for n in range(3))
            assert line_of(process) == f"zkpy ensemble of 3 serving on {hosts} (data in {data_dir})\n"
            members = members_of(process)
            assert len(members) == 3
            client = Client(port)
            client.connect()
            assert sorted(client.children("/")) == [*expected, "zookeeper"]
            if not expected:
                assert client.create("/kept").err == 0
            client.sock.close()
            process.send_signal(number)
            assert process.wait(STOP_S) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in members)
        assert all(is_free(port + n) for n in range(3))


@pytest.mark.slow
def test_an_ensemble_ends_when_a_member_cannot_start(tmp_path: Path) -> None:
    port = base_port()
    with socket.create_server(("127.0.0.1", port + 1)), running(tmp_path / "data", port) as process:
        assert process.wait(START_TIMEOUT_S) == 1
        assert line_of(process) == ""
    assert all(is_free(port + n) for n in (0, 2))
    log = (tmp_path / "ensemble.log").read_text()
    assert f"cannot listen on 127.0.0.1:{port + 1}: it is in use" in log
    assert "zkpy: member 2 of 3 has ended with status 1: all are stopped" in log


@pytest.mark.slow
def test_an_ensemble_ends_when_a_member_ends(tmp_path: Path) -> None:
    with running(tmp_path / "data", base_port()) as process:
        line_of(process)
        members = members_of(process)
        os.kill(members[1], signal.SIGKILL)
        assert process.wait(STOP_S) == 1
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members))


@pytest.mark.slow
def test_members_end_when_their_ensemble_is_killed(tmp_path: Path) -> None:
    port = base_port()
    with running(tmp_path / "data", port) as process:
        line_of(process)
        assert not any(is_free(port + n) for n in range(3))
        process.kill()
        process.wait(STOP_S)
        until(lambda: all(is_free(port + n) for n in range(3)))


def test_an_ensemble_takes_no_configuration_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zkpy", "serve", "--ensemble", "3", str(tmp_path / "zoo.cfg")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 2
    assert b"leave out ZOO_CFG" in done.stderr
