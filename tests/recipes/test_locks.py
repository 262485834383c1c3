"""Exclusive and shared locks, their sequencers, guarded writes and lock-delays, against a real server."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, ConnectionClosedError

from tests.recipes.fixtures import PATIENCE_S, Connect, expire, until
from tests.recipes.proxy import Proxy
from zkpy.recipes import (
    Cancelled,
    GuardedTransaction,
    Lock,
    Mode,
    NotAcquired,
    NotHeld,
    Sequencer,
    check_sequencer,
    who,
)


def children(client: KazooClient, path: str) -> list[str]:
    client.sync(path)
    return sorted(client.get_children(path)) if client.exists(path) else []


def test_a_lock_has_one_holder_at_a_time(connect: Connect, path: str) -> None:
    one, other = Lock(connect(), path), Lock(connect(), path)
    grant = one.acquire(PATIENCE_S)
    assert grant.is_held()
    with pytest.raises(NotAcquired):
        other.acquire(timeout_s=0)
    assert grant.release()
    assert not grant.is_held()
    with other.acquire(PATIENCE_S) as second:
        assert second.is_held()
        assert second.token > grant.token


def test_contenders_get_it_in_the_order_of_their_arrival(client: KazooClient, path: str) -> None:
    lock = Lock(client, path)
    got: list[int] = []
    threads = []

    def contend(number: int) -> None:
        with lock.acquire(PATIENCE_S):
            got.append(number)

    with lock.acquire(PATIENCE_S):
        for number in range(5):
            threads.append(threading.Thread(target=contend, args=(number,)))
            threads[-1].start()
            until(lambda number=number: len(who(client, path).waiters) == number + 1)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert got == [0, 1, 2, 3, 4]
    assert children(client, path) == []


def test_two_threads_never_hold_it_at_once(connect: Connect, path: str) -> None:
    clients = [connect() for _ in range(3)]
    inside = 0
    tokens: list[int] = []

    def work(number: int) -> None:
        nonlocal inside
        for _ in range(5):
            with Lock(clients[number % 3], path).acquire(PATIENCE_S) as grant:
                inside += 1
                assert inside == 1
                tokens.append(grant.token)
                time.sleep(0.001)
                inside -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(tokens) == 30
    assert tokens == sorted(set(tokens)), "a token did not grow"
    assert children(clients[0], path) == []


def test_the_token_grows_though_the_path_was_made_anew(client: KazooClient, path: str) -> None:
    lock = Lock(client, path)
    with lock.acquire(PATIENCE_S) as first:
        pass
    client.delete(path)
    with lock.acquire(PATIENCE_S) as second:
        pass
    assert second.sequencer.node.endswith(first.sequencer.node[-10:]), "the sequence number has started again"
    assert second.token > first.token
    assert second.token > 2**32 or first.token < 2**32  # a zxid, with the epoch in its upper half


def test_readers_share_and_writers_do_not(connect: Connect, path: str) -> None:
    client = connect()
    reader, writer = Lock(client, path, shared=True), Lock(connect(), path)
    one, two = reader.acquire(PATIENCE_S), reader.acquire(PATIENCE_S)
    assert one.sequencer.mode is Mode.SHARED
    with pytest.raises(NotAcquired):
        writer.acquire(timeout_s=0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(writer.acquire, PATIENCE_S)
        until(lambda: len(who(client, path).waiters) == 1)
        with pytest.raises(NotAcquired):  # a reader does not overtake a writer that waits
            reader.acquire(timeout_s=0)
        one.release()
        assert not waiting.done()
        two.release()
        with waiting.result(PATIENCE_S) as grant:
            assert grant.sequencer.mode is Mode.EXCLUSIVE
            assert grant.token > max(one.token, two.token)
    until(lambda: children(client, path) == [])


def test_an_attempt_in_vain_leaves_nothing_behind(client: KazooClient, path: str) -> None:
    with Lock(client, path).acquire(PATIENCE_S) as grant:
        with pytest.raises(NotAcquired):
            Lock(client, path).acquire(timeout_s=0.05)
        assert len(children(client, path)) == 2
        assert grant.check()


def test_an_attempt_can_be_cancelled_from_another_thread(client: KazooClient, path: str) -> None:
    with Lock(client, path).acquire(PATIENCE_S), ThreadPoolExecutor() as pool:
        contention = Lock(client, path).contend()
        waiting = pool.submit(contention.wait)
        until(lambda: len(who(client, path).waiters) == 1)
        contention.cancel()
        with pytest.raises(Cancelled):
            waiting.result(PATIENCE_S)
        until(lambda: len(children(client, path)) == 2)


def test_the_servers_judge_a_sequencer(connect: Connect, path: str) -> None:
    client, judge = connect(), connect()
    grant = Lock(client, path).acquire(PATIENCE_S)
    sequencer = Sequencer.parse(str(grant.sequencer))
    assert check_sequencer(judge, sequencer)
    assert not check_sequencer(judge, Sequencer(path, Mode.EXCLUSIVE, sequencer.token - 1, sequencer.node))
    grant.release()
    assert not check_sequencer(judge, sequencer)
    assert not check_sequencer(judge, Sequencer("/nowhere", Mode.EXCLUSIVE, 5, "node"))


def test_a_contender_that_waits_has_no_sequencer_yet(client: KazooClient, path: str) -> None:
    with Lock(client, path).acquire(PATIENCE_S), ThreadPoolExecutor() as pool:
        contention = Lock(client, path).contend()
        waiting = pool.submit(contention.wait)
        until(lambda: len(who(client, path).waiters) == 1)
        waiter = who(client, path).waiters[0]
        forged = Sequencer(path, Mode.EXCLUSIVE, waiter.token, waiter.node)
        assert not check_sequencer(client, forged)
        client.create(f"{path}-guarded")
        with pytest.raises(NotHeld), GuardedTransaction(client, forged) as transaction:
            transaction.set_data(f"{path}-guarded", b"forged")
        contention.cancel()
        with pytest.raises(Cancelled):
            waiting.result(PATIENCE_S)


def test_a_guarded_write_happens_only_while_the_lock_is_held(connect: Connect, path: str) -> None:
    client, service = connect(), connect()
    client.create(f"{path}-balance", b"1", makepath=True)
    grant = Lock(client, path).acquire(PATIENCE_S)
    with grant.transaction() as transaction:
        transaction.set_data(f"{path}-balance", b"2")
        transaction.create(f"{path}-entry")
    with GuardedTransaction(service, grant.sequencer) as transaction:  # whoever holds the sequencer may
        transaction.set_data(f"{path}-balance", b"3", version=1)
    grant.release()
    with pytest.raises(NotHeld), GuardedTransaction(service, grant.sequencer) as transaction:
        transaction.set_data(f"{path}-balance", b"4")
    with pytest.raises(NotHeld):
        grant.transaction()
    service.sync(path)
    assert service.get(f"{path}-balance")[0] == b"3"
    assert service.exists(f"{path}-entry")


def test_a_guarded_write_that_fails_for_itself_says_so(client: KazooClient, path: str) -> None:
    client.create(f"{path}-balance", b"1", makepath=True)
    with Lock(client, path).acquire(PATIENCE_S) as grant:
        transaction = grant.transaction()
        transaction.delete(f"{path}-balance", version=7)
        with pytest.raises(BadVersionError):
            transaction.commit()
        transaction = grant.transaction()
        transaction.check(f"{path}-balance", 0)
        transaction.delete(f"{path}-balance", version=0)
        assert transaction.commit() == [True, True]


def test_holders_and_waiters_are_told_with_what_they_hold(client: KazooClient, path: str) -> None:
    assert who(client, path).holders == ()
    before_ms = int(time.time() * 1000) - 1000
    grant = Lock(client, path, owner="first", lock_delay_s=2.5).acquire(PATIENCE_S)
    with ThreadPoolExecutor() as pool:
        contentions = [
            Lock(client, path, owner=f"waiter {number}", shared=number == 1).contend() for number in range(2)
        ]
        for number, contention in enumerate(contentions):
            pool.submit(contention.wait)
            until(lambda number=number: len(who(client, path).waiters) == number + 1)
        told = who(client, path, timeout_s=PATIENCE_S)
        for contention in contentions:
            contention.cancel()
    (holder,) = told.holders
    assert (holder.owner, holder.mode, holder.token) == ("first", Mode.EXCLUSIVE, grant.token)
    assert told.sequencer_of(holder) == grant.sequencer
    assert (holder.session_id, holder.lock_delay_s) == (client.client_id[0], 2.5)
    assert holder.held_since_ms is not None
    assert before_ms <= holder.since_ms <= holder.held_since_ms <= time.time() * 1000 + 1000
    assert [waiter.owner for waiter in told.waiters] == ["waiter 0", "waiter 1"]
    assert [waiter.mode for waiter in told.waiters] == [Mode.EXCLUSIVE, Mode.SHARED]
    assert [waiter.held_since_ms for waiter in told.waiters] == [None, None]
    assert grant.release()


def test_after_a_failed_holder_nobody_gets_the_lock_for_its_delay(connect: Connect, port: int, path: str) -> None:
    failing, client = connect(), connect()
    grant = Lock(failing, path, lock_delay_s=1.5).acquire(PATIENCE_S)
    expire(failing, port)
    failed_s = time.monotonic()
    with pytest.raises(NotAcquired):
        Lock(client, path).acquire(timeout_s=0)
    with pytest.raises(NotAcquired):
        Lock(client, path, shared=True).acquire(timeout_s=0.5)
    with Lock(client, path).acquire(PATIENCE_S) as second:
        assert time.monotonic() - failed_s >= 1.5
        assert second.token > grant.token
    assert grant.wait_lost(PATIENCE_S)
    until(lambda: children(client, path) == [])


def test_a_clean_release_has_no_delay(client: KazooClient, path: str) -> None:
    with Lock(client, path, lock_delay_s=60).acquire(PATIENCE_S):
        pass
    with Lock(client, path).acquire(PATIENCE_S):
        assert len(children(client, path)) == 2


def test_a_contender_that_fails_while_it_waits_causes_no_delay(connect: Connect, port: int, path: str) -> None:
    client, failing = connect(), connect()
    with Lock(client, path).acquire(PATIENCE_S), ThreadPoolExecutor() as pool:
        contention = Lock(failing, path, lock_delay_s=60).contend()
        waiting = pool.submit(contention.wait)
        until(lambda: len(who(client, path).waiters) == 1)
        expire(failing, port)
        contention.cancel()
        with pytest.raises(Cancelled):
            waiting.result(PATIENCE_S)
    with Lock(client, path).acquire(PATIENCE_S):
        pass


def test_a_shared_holder_that_failed_delays_writers_alone(connect: Connect, port: int, path: str) -> None:
    failing, client = connect(), connect()
    Lock(failing, path, shared=True, lock_delay_s=60).acquire(PATIENCE_S)
    expire(failing, port)
    with Lock(client, path, shared=True).acquire(PATIENCE_S), pytest.raises(NotAcquired):
        Lock(client, path).acquire(timeout_s=0)


def test_an_operator_can_cut_a_lock_delay_short(connect: Connect, port: int, path: str) -> None:
    failing, client = connect(), connect()
    Lock(failing, path, lock_delay_s=60).acquire(PATIENCE_S)
    expire(failing, port)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(Lock(client, path).acquire, PATIENCE_S)
        until(lambda: len(children(client, path)) == 3)
        (marker,) = [name for name in children(client, path) if name.startswith("delay_")]
        client.delete(f"{path}/{marker}")
        waiting.result(PATIENCE_S).release()


@pytest.mark.parametrize("lock_delay_s", [-1, 60.1, float("nan")])
def test_a_lock_delay_beyond_a_minute_is_refused(client: KazooClient, lock_delay_s: float) -> None:
    with pytest.raises(ValueError, match="a lock-delay is 0 to 60 seconds"):
        Lock(client, "/lock", lock_delay_s=lock_delay_s)


def test_a_stopped_client_acquires_nothing(connect: Connect, path: str) -> None:
    client = connect()
    with Lock(client, path).acquire(PATIENCE_S) as grant:
        client.stop()
        assert not grant.is_held()
        assert not grant.release()
    with pytest.raises(ConnectionClosedError):
        Lock(client, path).acquire(PATIENCE_S)


def test_the_judges_own_session_has_no_say(connect: Connect, port: int, path: str) -> None:
    client, judge = connect(), connect()
    with Lock(client, path).acquire(PATIENCE_S) as grant:
        expire(judge, port)
        assert check_sequencer(judge, grant.sequencer, PATIENCE_S)
        assert who(judge, path, PATIENCE_S).holders[0].token == grant.token


def test_servers_that_do_not_answer_are_no_judges(connect: Connect, proxy: Proxy, path: str) -> None:
    client, judge = connect(), connect(port=proxy.port)
    with Lock(client, path).acquire(PATIENCE_S) as grant:
        proxy.freeze()
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
            check_sequencer(judge, grant.sequencer, timeout_s=0.2)
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
            who(judge, path, timeout_s=0.2)
        proxy.thaw()


def test_a_chroot_is_no_hindrance(connect: Connect, port: int, path: str) -> None:
    below = KazooClient(f"127.0.0.1:{port}{path}")
    connect().ensure_path(path)
    below.start(timeout=PATIENCE_S)
    with Lock(below, "/inner", lock_delay_s=1).acquire(PATIENCE_S) as grant:
        assert grant.sequencer.path == "/inner"
        assert check_sequencer(below, grant.sequencer)
        assert len(children(below, "/inner")) == 3
    assert children(below, "/inner") == []
    below.stop()
    below.close()
