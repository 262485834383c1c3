"""Whatever answer is lost, no contender is left behind and none is lost, against a real server."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.recipes.fixtures import PATIENCE_S, Connect, expire, until
from tests.recipes.proxy import MULTI, Proxy
from zkpy.recipes import Cancelled, GuardedTransaction, Lock, check_sequencer, who


@pytest.mark.parametrize("what", ["lose_answer", "lose_request"])
@pytest.mark.parametrize("lock_delay_s", [0, 60])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_acquisition_whose_answers_are_lost_makes_one_contender(
    connect: Connect, proxy: Proxy, path: str, what: str, lock_delay_s: float, times: int
) -> None:
    client, watcher = connect(port=proxy.port), connect()
    getattr(proxy, what)(MULTI, times)
    grant = Lock(client, path, lock_delay_s=lock_delay_s).acquire(PATIENCE_S)
    watcher.sync(path)
    assert len(watcher.get_children(path)) == 2 + bool(lock_delay_s)
    until(lambda: proxy.lost == times)
    assert check_sequencer(watcher, grant.sequencer)
    assert not grant.wait_lost(0)
    assert grant.release()
    watcher.sync(path)
    assert watcher.get_children(path) == []


@pytest.mark.parametrize("what", ["lose_answer", "lose_request"])
def test_a_release_whose_answer_is_lost_is_a_clean_one(connect: Connect, proxy: Proxy, path: str, what: str) -> None:
    client, watcher = connect(port=proxy.port), connect()
    grant = Lock(client, path, lock_delay_s=60).acquire(PATIENCE_S)
    until(lambda: client.exists(grant.sequencer.node_path))
    getattr(proxy, what)(MULTI, 2)
    assert grant.release(PATIENCE_S)
    with Lock(watcher, path).acquire(timeout_s=0):
        pass


def test_an_attempt_that_ends_while_cut_off_leaves_nothing_behind(connect: Connect, proxy: Proxy, path: str) -> None:
    client, watcher = connect(port=proxy.port), connect()
    with Lock(watcher, path).acquire(PATIENCE_S), ThreadPoolExecutor() as pool:
        contention = Lock(client, path).contend()
        waiting = pool.submit(contention.wait)
        until(lambda: len(who(watcher, path).waiters) == 1)
        proxy.freeze()
        contention.cancel()
        with pytest.raises(Cancelled):
            waiting.result(PATIENCE_S)
        assert len(watcher.get_children(path)) == 4
        proxy.thaw()
        until(lambda: len(watcher.get_children(path)) == 2)


def test_a_release_while_cut_off_is_made_up_for(connect: Connect, proxy: Proxy, path: str) -> None:
    client, watcher = connect(port=proxy.port), connect()
    grant = Lock(client, path, lock_delay_s=60).acquire(PATIENCE_S)
    proxy.freeze()
    assert not grant.release(timeout_s=0.2)
    assert not grant.is_held()
    proxy.thaw()
    with Lock(watcher, path).acquire(PATIENCE_S):
        pass


def test_a_waiting_contender_survives_the_loss_of_its_connection_in_its_place(
    connect: Connect, proxy: Proxy, path: str
) -> None:
    client, watcher = connect(port=proxy.port), connect()
    with ThreadPoolExecutor() as pool:
        with Lock(watcher, path).acquire(PATIENCE_S):
            first = pool.submit(Lock(client, path).acquire, PATIENCE_S)
            until(lambda: len(who(watcher, path).waiters) == 1)
            second = pool.submit(Lock(watcher, path).acquire, PATIENCE_S)
            until(lambda: len(who(watcher, path).waiters) == 2)
            proxy.cut()
        proxy.mend()
        with first.result(PATIENCE_S) as grant:
            assert not second.done()
        assert second.result(PATIENCE_S).token > grant.token
        second.result().release()


def test_a_waiting_contender_whose_session_expires_stands_in_line_again(connect: Connect, port: int, path: str) -> None:
    client, watcher = connect(), connect()
    with ThreadPoolExecutor() as pool:
        with Lock(watcher, path).acquire(PATIENCE_S):
            waiting = pool.submit(Lock(client, path).acquire, PATIENCE_S)
            until(lambda: len(who(watcher, path).waiters) == 1)
            (before,) = who(watcher, path).waiters
            expire(client, port)
            until(lambda: [waiter.token > before.token for waiter in who(watcher, path).waiters] == [True])
        with waiting.result(PATIENCE_S) as grant:
            assert grant.token > before.token


def test_a_waiting_contender_that_an_operator_deletes_by_half_stands_in_line_again(connect: Connect, path: str) -> None:
    client, watcher = connect(), connect()
    with ThreadPoolExecutor() as pool:
        with Lock(watcher, path).acquire(PATIENCE_S):
            waiting = pool.submit(Lock(client, path).acquire, PATIENCE_S)
            until(lambda: len(who(watcher, path).waiters) == 1)
            watcher.delete(f"{path}/{who(watcher, path).waiters[0].node}")
        waiting.result(PATIENCE_S).release()
    until(lambda: watcher.get_children(path) == [])


def test_a_session_timeout_beyond_what_the_server_grants_is_known(connect: Connect, path: str) -> None:
    with Lock(connect(3600.0), path).acquire(PATIENCE_S) as grant:
        assert grant.session_timeout_s == 40.0
    with Lock(connect(0.1), path).acquire(PATIENCE_S) as grant:
        assert grant.session_timeout_s == 0.4


def test_a_heartbeat_is_no_change_of_the_znode(connect: Connect, path: str) -> None:
    watcher = connect()
    with Lock(connect(1.0), path).acquire(PATIENCE_S) as grant:
        before = watcher.get(grant.sequencer.node_path)
        assert not grant.wait_lost(1.5)
        watcher.sync(path)
        assert watcher.get(grant.sequencer.node_path) == before


def test_a_guard_holds_whichever_server_connection_asks(connect: Connect, proxy: Proxy, path: str) -> None:
    client = connect(port=proxy.port)
    with Lock(client, path).acquire(PATIENCE_S) as grant:
        proxy.drop()
        until(lambda: client.connected and grant.check())
        with GuardedTransaction(connect(), grant.sequencer) as transaction:
            transaction.create(f"{path}-made-under-the-lock")
