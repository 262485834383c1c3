"""A server in the test's own process, with every control."""

import gc
import socket
import sys
import threading
import time
from pathlib import Path
from struct import pack

import pytest
from kazoo.client import KazooClient

from tests.testing.clients import client_of, descriptors, states_of, threads, until
from zkpy.testing import ControlError, Server

READY_S = 0.3
#: A frame that asks for a session.
CONNECT = pack(">iiqiqi16s", 44, 0, 0, 10_000, 0, 16, bytes(16))


def test_it_is_ready_within_a_third_of_a_second() -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        with Server() as server, socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"ruok")
            assert client.recv(4) == b"imok"
            took.append(time.perf_counter() - began)
    print(f"ready and answering after {sorted(took)[2] * 1000:.1f} ms (median of 5; most {max(took) * 1000:.1f})")
    assert min(took) < READY_S


@pytest.mark.slow
def test_threads_descriptors_and_data_go_away_with_it() -> None:
    threads_before, open_before = threads(), descriptors()
    for _ in range(5):
        with Server() as server, client_of(server.hosts) as client:
            data = server.config.data_dir
            client.create("/a", b"1")
            server.restart()
            assert client.retry(client.get, "/a")[0] == b"1"
            assert data.is_dir()
        assert not data.exists()
    assert threads() == threads_before
    assert descriptors() == open_before


def test_the_process_stays_as_it_was() -> None:
    before = (gc.get_threshold(), list(gc.callbacks), gc.get_freeze_count(), sys.getswitchinterval())
    with Server():
        assert (gc.get_threshold(), list(gc.callbacks), gc.get_freeze_count(), sys.getswitchinterval()) == before


@pytest.mark.slow
def test_an_expired_session_is_gone_and_its_client_told() -> None:
    with Server() as server, client_of(server.hosts) as client, client_of(server.hosts) as other:
        client.create("/mine", ephemeral=True)
        states = states_of(client)
        server.expire(client)
        assert other.exists("/mine") is None
        until(lambda: states == ["SUSPENDED", "LOST", "CONNECTED"])
        assert other.connected


def test_a_session_can_be_expired_by_its_id_and_only_once() -> None:
    with Server() as server, client_of(server.hosts) as client:
        session_id = client.client_id[0]
        assert server.has_session(session_id)
        server.expire(session_id)
        assert not server.has_session(session_id)
        with pytest.raises(ControlError, match=r"there is no session 0x[0-9a-f]+ here"):
            server.expire(session_id)


@pytest.mark.slow
def test_a_client_cut_off_stays_outside_until_it_is_let_back() -> None:
    with Server() as server, client_of(server.hosts) as client, client_of(server.hosts) as other:
        client.create("/mine", ephemeral=True)
        states = states_of(client)
        server.cut_off(client)
        until(lambda: "SUSPENDED" in states)
        time.sleep(0.5)  # it tries to come back all the time
        assert states == ["SUSPENDED"]
        assert other.exists("/mine") is not None
        server.let_back(client)
        until(lambda: states == ["SUSPENDED", "CONNECTED"])
        assert client.exists("/mine").ephemeralOwner == client.client_id[0]


@pytest.mark.slow
def test_the_session_of_a_client_cut_off_runs_out() -> None:
    with Server() as server, client_of(server.hosts, 1.0) as client, client_of(server.hosts) as other:
        client.create("/mine", ephemeral=True)
        session_id = client.client_id[0]
        server.cut_off(client)
        until(lambda: other.exists("/mine") is None)
        assert not server.has_session(session_id)


@pytest.mark.slow
def test_a_paused_server_answers_nobody_and_goes_on_where_it_stood() -> None:
    with Server() as server, client_of(server.hosts) as client:
        server.pause()
        assert server.is_paused
        assert not server.is_serving
        answer = client.create_async("/a")
        time.sleep(0.3)
        assert not answer.ready()
        server.resume()
        assert answer.get(timeout=30) == "/a"
        assert server.is_serving


@pytest.mark.slow
def test_a_restarted_server_has_its_data_its_port_and_its_sessions() -> None:
    with Server() as server, client_of(server.hosts) as client:
        client.create("/kept", b"1")
        client.create("/mine", ephemeral=True)
        session, port = client.client_id, server.port
        states = states_of(client)
        server.restart()
        until(lambda: states[-1:] == ["CONNECTED"])
        assert (server.port, client.client_id, states) == (port, session, ["SUSPENDED", "CONNECTED"])
        assert client.get("/kept")[0] == b"1"
        assert client.exists("/mine").ephemeralOwner == session[0]


def test_a_stopped_servers_port_is_given_to_nobody_else() -> None:
    with Server() as server:
        server.stop()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))
        server.start()
        assert server.is_serving


@pytest.mark.slow
def test_a_clock_moved_forward_ends_sessions_that_are_silent() -> None:
    with Server() as server, client_of(server.hosts, 10.0) as client:
        session_id = client.client_id[0]
        states = states_of(client)
        server.move_clock(5)
        assert server.has_session(session_id)
        server.move_clock(11)
        until(lambda: not server.has_session(session_id))
        until(lambda: states == ["SUSPENDED", "LOST", "CONNECTED"])
        assert client.create("/again") == "/again"


def test_the_time_of_day_moves_both_ways_and_over_a_restart() -> None:
    with Server() as server, client_of(server.hosts) as client:

        def created_s(path: str) -> float:
            client.retry(client.create, path)
            return float(client.get(path)[1].ctime) / 1000 - time.time()

        day = 86400.0
        session_id = client.client_id[0]
        server.move_clock(-day)
        assert created_s("/yesterday") == pytest.approx(-day, abs=60)
        assert server.has_session(session_id)
        server.restart()
        assert created_s("/still") == pytest.approx(-day, abs=60)
        server.move_clock(2 * day)
        with client_of(server.hosts) as new:
            new.create("/tomorrow")
            assert new.get("/tomorrow")[1].ctime / 1000 - time.time() == pytest.approx(day, abs=60)


def test_writes_are_synced_only_where_that_was_asked_for(tmp_path: Path) -> None:
    with Server() as quick, Server(durable=True, data_dir=tmp_path / "kept") as durable:
        assert (quick.config.force_sync, durable.config.force_sync) == (False, True)
        with client_of(durable.hosts) as client:
            client.create("/a", b"1")
    with Server(data_dir=tmp_path / "kept") as again, client_of(again.hosts) as client:
        assert client.get("/a")[0] == b"1"


def test_two_servers_know_nothing_of_each_other() -> None:
    with Server() as one, Server() as two, client_of(one.hosts) as client, client_of(two.hosts) as other:
        client.create("/a")
        one.move_clock(3600)
        assert other.exists("/a") is None
        assert two.has_session(other)


def test_what_cannot_be_done_is_said_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match=r"no such setting: .*'tick'"):
        Server(tick=5)
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match=r"the server has failed: .*file"), Server(data_dir=tmp_path / "file"):
        pass
    with Server() as server:
        with pytest.raises(ControlError, match="the server is running already"):
            server.start()
        with pytest.raises(ControlError, match="this client has no session: start it first"):
            server.expire(KazooClient(server.hosts))
        server.pause()
        with pytest.raises(ControlError, match="the server is paused: resume it first"):
            server.move_clock(1)
        server.stop()
        with pytest.raises(ControlError, match="the server is not running: start it first"):
            server.cut_off(1)


def test_a_server_that_fails_tells_the_test() -> None:
    def fail(ready: object) -> None:
        raise OSError("the disk is on fire")

    server = Server()
    server.__enter__()
    server._driver.disk.carry_out = fail  # type: ignore[method-assign]
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(CONNECT)
        until(lambda: not server.is_running)
    with pytest.raises(ControlError, match="the server has failed: the disk is on fire"):
        server.move_clock(1)
    with pytest.raises(ControlError, match="the server has failed: the disk is on fire"):
        server.__exit__()
    assert not any(thread.name == "the server" for thread in threading.enumerate())
