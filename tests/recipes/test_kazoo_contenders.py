"""Contenders of kazoo's own recipes in one line with ours, against a real server."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.recipes.fixtures import PATIENCE_S, Connect, until
from zkpy.recipes import Election, Lock, NotAcquired, who


def waits(client: KazooClient, path: str, count: int) -> None:
    until(lambda: len(who(client, path).waiters) == count)


def test_kazoos_lock_and_ours_take_turns_in_the_order_of_arrival(connect: Connect, path: str) -> None:
    client, others = connect(), connect()
    got: list[str] = []
    theirs: list[Any] = [others.Lock(path, f"theirs {number}") for number in range(2)]

    def take_ours() -> None:
        with Lock(client, path, owner="ours").acquire(PATIENCE_S):
            got.append("ours")

    def take_theirs(number: int) -> None:
        assert theirs[number].acquire(timeout=PATIENCE_S)
        got.append(f"theirs {number}")
        theirs[number].release()

    with ThreadPoolExecutor() as pool:
        with Lock(client, path, owner="first").acquire(PATIENCE_S):
            turns = [pool.submit(take_theirs, 0)]
            waits(client, path, 1)
            turns.append(pool.submit(take_ours))
            waits(client, path, 2)
            turns.append(pool.submit(take_theirs, 1))
            waits(client, path, 3)
            assert [waiter.owner for waiter in who(client, path).waiters] == ["theirs 0", "ours", "theirs 1"]
            assert others.Lock(path).contenders() == ["first", "theirs 0", "ours", "theirs 1"]
        for turn in turns:
            turn.result(PATIENCE_S)
    assert got == ["theirs 0", "ours", "theirs 1"]


def test_we_wait_for_a_lock_of_kazoos_and_know_its_holder(connect: Connect, path: str) -> None:
    client, others = connect(), connect()
    theirs = others.Lock(path, "theirs")
    with theirs:
        with pytest.raises(NotAcquired):
            Lock(client, path).acquire(timeout_s=0)
        (holder,) = who(client, path).holders
        assert (holder.owner, holder.held_since_ms) == ("theirs", None)
        assert holder.session_id == others.client_id[0]
    with Lock(client, path).acquire(PATIENCE_S):
        assert not theirs.acquire(blocking=False)


def test_readers_and_writers_of_kazoos_respect_ours_and_are_respected(connect: Connect, path: str) -> None:
    client, others = connect(), connect()
    reader, writer = others.ReadLock(path), others.WriteLock(path)
    with Lock(client, path, shared=True).acquire(PATIENCE_S):
        assert reader.acquire(timeout=PATIENCE_S)
        assert not writer.acquire(blocking=False)
        with pytest.raises(NotAcquired):
            Lock(client, path).acquire(timeout_s=0)
        with Lock(client, path, shared=True).acquire(PATIENCE_S):
            assert len(who(client, path).holders) == 3
    reader.release()
    assert writer.acquire(timeout=PATIENCE_S)
    with pytest.raises(NotAcquired):
        Lock(client, path, shared=True).acquire(timeout_s=0)
    writer.release()
    with Lock(client, path).acquire(PATIENCE_S):
        assert not others.ReadLock(path).acquire(blocking=False)
        assert not others.WriteLock(path).acquire(blocking=False)


def test_a_candidate_of_kazoos_follows_ours_and_the_other_way_round(connect: Connect, path: str) -> None:
    client, others = connect(), connect()
    theirs = others.Election(path, "theirs")
    led: list[str] = []
    with ThreadPoolExecutor() as pool, Election(client, path, owner="ours") as ours:
        ours.wait_elected(PATIENCE_S)
        waiting = pool.submit(theirs.run, lambda: led.append(who(client, path).holders[0].owner))
        waits(client, path, 1)
        assert led == []
        ours.resign()
        waiting.result(PATIENCE_S)
        assert led == ["theirs"]
        assert ours.wait_elected(PATIENCE_S)
