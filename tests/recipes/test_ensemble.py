"""Locks, leaders and configuration over an ensemble whose own leader is killed."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.recipes.fixtures import LONG_S, PATIENCE_S, until
from tests.system.ensembles import EnsembleProcesses
from zkpy.recipes import Change, Config, Election, Event, EventKind, Lock, check_sequencer

WORKERS = 4


@pytest.fixture
def ensemble(tmp_path: Path) -> Iterator[EnsembleProcesses]:
    """Three members that have agreed on a leader."""
    with EnsembleProcesses(tmp_path) as members:
        members.agree()
        yield members


def test_locks_and_leaders_outlive_the_ensembles_leader(ensemble: EnsembleProcesses) -> None:
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    hosts = ",".join(f"127.0.0.1:{member.port}" for member in ensemble.members.values())
    clients = [KazooClient(hosts, timeout=LONG_S) for _ in range(3)]
    for client in clients:
        client.start(timeout=PATIENCE_S)
    events: list[Event] = []
    inside = 0
    tokens: list[int] = []
    may_end = threading.Event()

    def work(number: int) -> None:
        nonlocal inside
        is_last = False
        while not is_last:
            is_last = may_end.is_set()
            with Lock(clients[number % 2], "/lock", lock_delay_s=60).acquire(PATIENCE_S) as grant:
                inside += 1
                assert inside == 1, "two hold it"
                tokens.append(grant.token)
                inside -= 1

    with ThreadPoolExecutor(WORKERS) as pool, Election(clients[2], "/leader", on_event=events.append) as election:
        elected = election.wait_elected(PATIENCE_S)
        assert elected is not None
        workers = [pool.submit(work, number) for number in range(WORKERS)]
        try:
            until(lambda: len(tokens) >= WORKERS)
            leader = ensemble.agree()
            ensemble.members[leader].kill()
            assert ensemble.agree() != leader
            assert check_sequencer(clients[0], elected.sequencer, PATIENCE_S)
            assert election.sequencer == elected.sequencer
        finally:
            may_end.set()
        for worker in workers:
            worker.result(PATIENCE_S)
    assert tokens == sorted(set(tokens)), "a token did not grow"
    assert tokens[-1] >> 32 > tokens[0] >> 32, "nobody got the lock under the new leader"
    clients[0].sync("/lock")
    assert clients[0].get_children("/lock") == []
    kinds = [event.kind for event in events]
    assert kinds[0] is EventKind.ELECTED
    assert kinds.count(EventKind.LOST) == 1, "it lost the leadership before it stopped"
    for client in clients:
        client.stop()
        client.close()


def test_a_refresh_shows_at_each_member_what_was_written_at_another_also_after_the_leaders_end(
    ensemble: EnsembleProcesses,
) -> None:
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    hosts = [f"127.0.0.1:{member.port}" for member in ensemble.members.values()]
    # Each begins at a member of its own, and may go on at any.
    clients = [KazooClient(",".join(hosts[at:] + hosts[:at]), timeout=LONG_S, randomize_hosts=False) for at in range(3)]
    for client in clients:
        client.start(timeout=PATIENCE_S)
    configs = [Config(client, "/config", timeout_s=PATIENCE_S).start() for client in clients]
    heard: list[list[int]] = [[] for _ in configs]

    def write_and_look(numbers: range) -> None:
        for number in numbers:
            configs[number % 3].set("count", number)
            for config in configs:
                config.refresh()
                assert config.get_int("count") == number

    def hear(numbers: list[int]) -> Callable[[Change], None]:
        return lambda change: numbers.append(int(change.new.value)) if change.new else None

    try:
        for config, numbers in zip(configs, heard, strict=True):
            config.on_change(hear(numbers), "count")
        write_and_look(range(100))
        ensemble.members[ensemble.agree()].kill()
        ensemble.agree()
        until(lambda: all(config.is_following for config in configs))
        write_and_look(range(100, 130))
        until(lambda: all(numbers[-1] == 129 for numbers in heard))
        assert heard == [sorted(set(numbers)) for numbers in heard]
    finally:
        for config, client in zip(configs, clients, strict=True):
            config.close()
            client.stop()
            client.close()


def test_a_refresh_at_a_member_that_lags_behind_waits_until_it_does_not(ensemble: EnsembleProcesses) -> None:
    leader = ensemble.agree()
    lagging = next(sid for sid in ensemble.members if sid != leader)
    clients = [KazooClient(f"127.0.0.1:{ensemble.members[sid].port}", timeout=LONG_S) for sid in (leader, lagging)]
    for client in clients:
        client.start(timeout=PATIENCE_S)
    try:
        with (
            Config(clients[0], "/config", timeout_s=PATIENCE_S) as writer,
            Config(clients[1], "/config", timeout_s=PATIENCE_S) as reader,
            ThreadPoolExecutor(1) as pool,
        ):
            for number in range(20):
                ensemble.members[lagging].pause()
                try:
                    for step in range(20):
                        writer.set("count", number * 20 + step)
                    refreshed = pool.submit(lambda: (reader.refresh(), reader.get_int("count")))
                finally:
                    ensemble.members[lagging].resume()
                assert refreshed.result(PATIENCE_S)[1] == number * 20 + 19
    finally:
        for client in clients:
            client.stop()
            client.close()
