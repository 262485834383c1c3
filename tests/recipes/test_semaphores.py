"""Semaphores, beside contenders of kazoo's, against a real server."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kazoo.client import KazooClient

from tests.recipes.fixtures import PATIENCE_S, Connect, expire, until
from tests.recipes.proxy import MULTI, Proxy
from zkpy.recipes import (
    Cancelled,
    HoldersDiffer,
    MemoryFence,
    Mode,
    NotAcquired,
    Semaphore,
    check_sequencer,
    who,
)


def test_no_more_hold_it_than_there_are_places(connect: Connect, path: str) -> None:
    clients = [connect() for _ in range(3)]
    inside = 0
    mutex = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside
        for _ in range(3):
            with Semaphore(clients[number % 3], path, 2).acquire(PATIENCE_S) as grant:
                with mutex:
                    inside += 1
                    assert inside <= 2
                assert grant.check()
                with mutex:
                    inside -= 1

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    assert clients[0].get(path)[0] == b"2"
    clients[0].sync(path)
    assert clients[0].get_children(path) == []


def test_a_place_has_a_sequencer_and_an_owner(client: KazooClient, path: str) -> None:
    with Semaphore(client, path, 2, owner="me", lock_delay_s=3).acquire(PATIENCE_S) as grant:
        assert grant.sequencer.mode is Mode.PLACE
        assert check_sequencer(client, grant.sequencer)
        with pytest.raises(ValueError, match="have no order"):
            MemoryFence().admit(grant.sequencer)
        with Semaphore(client, path, 2).acquire(PATIENCE_S), ThreadPoolExecutor() as pool:
            attempt = Semaphore(client, path, 2, owner="waiter").contend()
            waiting = pool.submit(attempt.wait)
            until(lambda: any(waiter.owner == "waiter" for waiter in who(client, path).waiters))
            told = who(client, path)
            assert told.holders[0].owner == "me"
            assert told.holders[0].lock_delay_s == 3
            assert told.sequencer_of(told.holders[0]) == grant.sequencer
            assert len(told.holders) == 2
            attempt.cancel()
            with pytest.raises(Cancelled):
                waiting.result(PATIENCE_S)
    assert not check_sequencer(client, grant.sequencer)
    until(lambda: who(client, path).holders == who(client, path).waiters == ())


def test_all_must_agree_on_the_number_of_places(client: KazooClient, path: str) -> None:
    with Semaphore(client, path, 2).acquire(PATIENCE_S), pytest.raises(HoldersDiffer, match="has 2 places, not 3"):
        Semaphore(client, path, 3).acquire(PATIENCE_S)
    with pytest.raises(ValueError, match="at least one holder"):
        Semaphore(client, path, 0)
    with Semaphore(client, path, 2).acquire(PATIENCE_S):
        pass


def test_the_place_of_a_failed_holder_stays_taken_for_its_delay(connect: Connect, port: int, path: str) -> None:
    failing, client = connect(), connect()
    Semaphore(failing, path, 2, lock_delay_s=1.5).acquire(PATIENCE_S)
    expire(failing, port)
    failed_s = time.monotonic()
    with Semaphore(client, path, 2).acquire(PATIENCE_S):
        with pytest.raises(NotAcquired):
            Semaphore(client, path, 2).acquire(timeout_s=0)
        with Semaphore(client, path, 2).acquire(PATIENCE_S):
            assert time.monotonic() - failed_s >= 1.5
    until(lambda: client.get_children(f"{path}-__lock__") == [])


def test_kazoos_semaphore_and_ours_share_the_places(connect: Connect, path: str) -> None:
    client, others = connect(), connect()
    theirs = others.Semaphore(path, "theirs", max_leases=2)
    ours = Semaphore(client, path, 2, owner="ours")
    assert theirs.acquire(timeout=PATIENCE_S)
    with ours.acquire(PATIENCE_S) as grant:
        assert {holder.owner for holder in who(client, path).holders} == {"ours", "theirs"}
        with pytest.raises(NotAcquired):
            ours.acquire(timeout_s=0.1)
        until(lambda: len(client.get_children(f"{path}-__lock__")) == 0)
        assert not others.Semaphore(path, max_leases=2).acquire(blocking=False)
        with pytest.raises(ValueError, match="Inconsistent max leases"):
            others.Semaphore(path, max_leases=3).acquire(blocking=False)
        theirs.release()
        with ours.acquire(PATIENCE_S):
            third = others.Semaphore(path, max_leases=2)
            with ThreadPoolExecutor() as pool:
                waiting = pool.submit(third.acquire, timeout=PATIENCE_S)
                until(lambda: client.get_children(f"{path}-__lock__"))
                assert not waiting.done()
                grant.release()
                assert waiting.result(PATIENCE_S)
        third.release()


def test_a_lost_answer_takes_no_second_place(connect: Connect, proxy: Proxy, path: str) -> None:
    client, watcher = connect(port=proxy.port), connect()
    with Semaphore(client, path, 2).acquire(PATIENCE_S):
        pass
    until(lambda: watcher.get_children(f"{path}-__lock__") == [])
    for number in range(1, 4):  # transactions: to stand in line, to get the turn, to take the place
        attempt = Semaphore(client, path, 2, lock_delay_s=60)
        proxy.lose_answer(MULTI, number)
        with attempt.acquire(PATIENCE_S) as grant:
            proxy.lose_answer(MULTI, 0)
            watcher.sync(path)
            assert watcher.get_children(path) == [grant.sequencer.node]
            assert grant.check()
        until(lambda: watcher.get_children(path) == watcher.get_children(f"{path}-__lock__") == [])
    assert proxy.lost >= 3
