"""An ensemble in the test's own process."""

import time

import pytest

from tests.testing.clients import client_of, descriptors, states_of, threads, until
from zkpy.testing import ControlError, Ensemble

pytestmark = pytest.mark.slow


def test_threads_descriptors_and_data_go_away_with_it() -> None:
    threads_before, open_before = threads(), descriptors()
    began = time.perf_counter()
    with Ensemble(3) as ensemble, client_of(ensemble.hosts) as client:
        print(f"three members ready, and a client, after {(time.perf_counter() - began) * 1000:.0f} ms")
        directories = [member.config.data_dir for member in ensemble.members]
        client.create("/a", b"1")
        assert all(directory.is_dir() for directory in directories)
    assert not any(directory.exists() for directory in directories)
    assert threads() == threads_before
    assert descriptors() == open_before


def test_a_killed_leader_is_followed_by_another_and_comes_back_as_a_follower() -> None:
    with Ensemble(3) as ensemble, client_of(ensemble.hosts) as client:
        client.create("/a", b"1")
        session = client.client_id
        killed = ensemble.kill_leader()
        assert not killed.is_running
        leader = ensemble.leader
        assert leader is not killed
        assert client.retry(client.get, "/a")[0] == b"1"
        client.retry(client.set, "/a", b"2")
        killed.start()
        ensemble.wait_ready()
        assert killed in ensemble.followers
        assert client.client_id == session
        with client_of(killed.hosts) as other:
            other.sync("/a")
            assert other.get("/a")[0] == b"2"


def test_a_member_can_go_and_come_while_the_others_serve() -> None:
    with Ensemble(3) as ensemble, client_of(ensemble.leader.hosts) as client:
        follower = ensemble.followers[0]
        follower.stop()
        client.create("/meanwhile")
        follower.start()
        ensemble.wait_ready()
        with client_of(follower.hosts) as other:
            other.sync("/")
            assert other.exists("/meanwhile")


def test_a_paused_leader_is_followed_by_another() -> None:
    with Ensemble(3) as ensemble:
        paused = ensemble.leader
        paused.pause()
        until(lambda: any(member.is_leading for member in ensemble.members))
        paused.resume()
        until(lambda: not paused.is_leading)
        ensemble.wait_ready()
        assert paused in ensemble.followers


def test_a_session_expires_wherever_its_client_is_connected() -> None:
    with Ensemble(3) as ensemble:
        for member in ensemble.members:
            with client_of(member.hosts) as client, client_of(ensemble.hosts) as other:
                client.create("/mine", ephemeral=True)
                states = states_of(client)
                ensemble.expire(client)
                other.sync("/")
                assert other.exists("/mine") is None
                until(lambda states=states: states == ["SUSPENDED", "LOST", "CONNECTED"])


def test_a_client_is_cut_off_from_one_member_or_from_all() -> None:
    with Ensemble(3) as ensemble, client_of(ensemble.hosts) as client:
        states = states_of(client)
        [member] = [
            one for one in ensemble.members if one.config.client_port == client._connection._socket.getpeername()[1]
        ]
        member.cut_off(client)
        until(lambda: states == ["SUSPENDED", "CONNECTED"])
        ensemble.cut_off(client)
        until(lambda: len(states) == 3)
        time.sleep(0.3)
        assert states == ["SUSPENDED", "CONNECTED", "SUSPENDED"]
        ensemble.let_back(client)
        until(lambda: states[3:] == ["CONNECTED"])


def test_clocks_moved_end_sessions_and_leave_the_leader_alone() -> None:
    with Ensemble(3) as ensemble, client_of(ensemble.hosts, 20.0) as client:
        leader, states = ensemble.leader, states_of(client)
        ensemble.move_clock(60)
        until(lambda: states == ["SUSPENDED", "LOST", "CONNECTED"])
        assert ensemble.leader is leader


def test_what_cannot_be_done_is_said_in_plain_words() -> None:
    with pytest.raises(ControlError, match="one member or more, not 0"):
        Ensemble(0)
    with pytest.raises(ControlError, match="no such setting"):
        Ensemble(3, sync=True)
