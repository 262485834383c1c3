"""kazoo's recipes, as kazoo ships them, in programs of several clients: against Apache's server and against zkpy.

The law: a program, and what it asserts, does not know which of the two it talks to. Each client is a connection of its
own in a thread of its own; one that dies is cut off, and its session is ended at the server as an expiry would end it.
The programs wait for what they can see (a place in the line, a watch at the server), never for time to pass.
kazoo's own tests, of one call at a time, are run by test_kazoo_suite. Next: test_kazoo_watchers, for the recipes that
keep a client's view of the tree fresh.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, takewhile
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout

from compat_tests.clients import word
from compat_tests.kazoo_programs import Connect, Mortal, Server, connect, mortal, path, port, running
from tests.recipes.fixtures import PATIENCE_S, until

__all__ = ["connect", "mortal", "path", "port", "running"]

pytestmark = pytest.mark.slow


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads, as many as a program asks for."""
    with ThreadPoolExecutor(max_workers=16) as threads:
        yield threads


def together(pool: ThreadPoolExecutor, *calls: Callable[[], Any]) -> list[Any]:
    """What the calls return, made at the same time."""
    return results(*[pool.submit(call) for call in calls])


def results(*futures: Future[Any]) -> list[Any]:
    return [future.result(PATIENCE_S) for future in futures]


def in_line(lock: Any, *names: str) -> None:
    """Wait until these contend for the lock, in this order."""
    until(lambda: lock.contenders() == list(names), f"{names} never stood in line")


def watched(port: int, path: str, times: int) -> None:
    """Wait until so many sessions watch `path`, by the server's own word."""

    def watchers() -> int:
        _, _, after = word(port, b"wchp").partition(f"{path}\n")
        return len(list(takewhile(lambda line: line.startswith("\t"), after.splitlines())))

    until(lambda: watchers() == times, f"{path} is watched by {watchers()}")


# --- locks ---------------------------------------------------------------------------------------------------------


def test_lock_lets_in_one_at_a_time_in_the_order_of_arrival(
    connect: Connect, path: str, pool: ThreadPoolExecutor
) -> None:
    first, *others = [connect() for _ in range(4)]
    log: list[str] = []

    def work(lock: Any, name: str) -> None:
        with lock:
            log.append(f"{name} in")
            log.append(f"{name} out")

    names = ["first"]
    turns = []
    held = first.Lock(path, "first")
    with held:
        for client, name in zip(others, "abc", strict=True):
            turns.append(pool.submit(work, client.Lock(path, name), name))
            names.append(name)
            in_line(held, *names)
        assert not first.Lock(path, "hasty").acquire(blocking=False)
        with pytest.raises(LockTimeout):
            first.Lock(path, "impatient").acquire(timeout=0.05)
        assert held.contenders() == names
        assert log == []
    results(*turns)
    assert log == ["a in", "a out", "b in", "b out", "c in", "c out"]
    assert held.contenders() == []


def test_sums_under_a_lock_lose_no_summand(connect: Connect, path: str, pool: ThreadPoolExecutor) -> None:
    clients = [connect() for _ in range(4)]
    total = f"{path}-total"
    clients[0].create(total, b"0", makepath=True)

    def add(client: KazooClient) -> None:
        for _ in range(10):
            with client.Lock(path):
                value, _ = client.get(total)
                client.set(total, b"%d" % (int(value) + 1))

    together(pool, *[partial(add, client) for client in clients])
    value, stat = clients[0].get(total)
    assert (value, stat.version) == (b"40", 40)


def test_lock_of_a_dead_holder_goes_to_the_next(
    connect: Connect, mortal: Mortal, path: str, pool: ThreadPoolExecutor
) -> None:
    client, (holder, proxy) = connect(), mortal()
    assert holder.Lock(path, "dead").acquire(timeout=PATIENCE_S)
    lock = client.Lock(path, "next")
    waiting = pool.submit(lock.acquire, timeout=PATIENCE_S)
    in_line(client.Lock(path), "dead", "next")
    assert not waiting.done()
    mortal.kill(holder, proxy)
    assert waiting.result(PATIENCE_S)
    assert lock.contenders() == ["next"]


def test_waiter_that_is_cut_off_keeps_its_place(
    connect: Connect, mortal: Mortal, path: str, pool: ThreadPoolExecutor
) -> None:
    client, third, (waiter, proxy) = connect(), connect(), mortal()
    held, waiting, last = client.Lock(path, "held"), waiter.Lock(path, "waiting"), third.Lock(path, "last")
    assert held.acquire()
    second_turn = pool.submit(waiting.acquire, timeout=PATIENCE_S)
    in_line(held, "held", "waiting")
    last_turn = pool.submit(last.acquire, timeout=PATIENCE_S)
    in_line(held, "held", "waiting", "last")
    proxy.cut()
    held.release()
    in_line(held, "waiting", "last")
    assert not last_turn.done()
    proxy.mend()
    assert second_turn.result(PATIENCE_S)
    assert not last_turn.done()
    waiting.release()
    assert last_turn.result(PATIENCE_S)


def test_readers_share_and_a_writer_is_alone(connect: Connect, path: str, pool: ThreadPoolExecutor) -> None:
    *readers, writing, late = [connect() for _ in range(5)]
    log: list[str] = []

    def work(lock: Any, name: str) -> None:
        with lock:
            log.append(f"{name} in")
            log.append(f"{name} out")

    held = [client.ReadLock(path, "reader") for client in readers]
    assert together(pool, *[lock.acquire for lock in held]) == [True] * 3
    writer = pool.submit(work, writing.WriteLock(path, "writer"), "writer")
    in_line(held[0], *["reader"] * 3, "writer")
    assert not late.ReadLock(path).acquire(blocking=False)
    reader = pool.submit(work, late.ReadLock(path, "late"), "late")
    in_line(held[0], *["reader"] * 3, "writer", "late")
    for lock in held:
        assert log == []
        lock.release()
    results(writer, reader)
    assert log == ["writer in", "writer out", "late in", "late out"]


def test_semaphore_has_as_many_leases_as_it_says(connect: Connect, path: str, pool: ThreadPoolExecutor) -> None:
    clients = [connect() for _ in range(6)]
    meeting = threading.Barrier(2)  # passed only by two that are inside at once
    mutex = threading.Lock()
    inside, most = 0, 0

    def work(client: KazooClient) -> None:
        nonlocal inside, most
        with client.Semaphore(path, max_leases=2):
            with mutex:
                inside += 1
                most = max(most, inside)
            meeting.wait(PATIENCE_S)
            with mutex:
                inside -= 1

    together(pool, *[partial(work, client) for client in clients])
    assert (most, inside) == (2, 0)
    with pytest.raises(ValueError, match="Inconsistent max leases: 2, expected: 3"):
        clients[0].Semaphore(path, max_leases=3).acquire()


def test_lease_of_a_dead_holder_goes_back_to_the_semaphore(
    connect: Connect, mortal: Mortal, path: str, pool: ThreadPoolExecutor
) -> None:
    client, waiter, (holder, proxy) = connect(), connect(), mortal()
    assert client.Semaphore(path, "alive", max_leases=2).acquire()
    assert holder.Semaphore(path, "dead", max_leases=2).acquire()
    semaphore = waiter.Semaphore(path, "next", max_leases=2)
    assert sorted(semaphore.lease_holders()) == ["alive", "dead"]
    assert not semaphore.acquire(blocking=False)
    with pytest.raises(LockTimeout):
        semaphore.acquire(timeout=0.05)
    waiting = pool.submit(semaphore.acquire, timeout=PATIENCE_S)
    mortal.kill(holder, proxy)
    assert waiting.result(PATIENCE_S)
    assert sorted(semaphore.lease_holders()) == ["alive", "next"]


def test_election_goes_down_the_line_past_the_dead_and_those_who_withdraw(
    connect: Connect, mortal: Mortal, path: str, pool: ThreadPoolExecutor
) -> None:
    dying, proxy = mortal()
    candidates = {"dead": dying, **{name: connect() for name in ("second", "withdrawn", "third")}}
    terms = {name: threading.Event() for name in candidates}
    led: list[str] = []

    def lead(name: str) -> None:
        led.append(name)
        assert terms[name].wait(PATIENCE_S)

    elections, runs = {}, {}
    for name, client in candidates.items():
        elections[name] = client.Election(path, name)
        runs[name] = pool.submit(elections[name].run, lead, name)
        in_line(connect().Election(path), *elections)
    until(lambda: led == ["dead"])
    elections["withdrawn"].cancel()
    runs["withdrawn"].result(PATIENCE_S)
    in_line(elections["third"], "dead", "second", "third")
    mortal.kill(dying, proxy)
    until(lambda: led == ["dead", "second"])
    in_line(elections["third"], "second", "third")
    # Back to life, and out of an office that is another's by now: that one stays.
    proxy.mend()
    terms["dead"].set()
    runs["dead"].result(PATIENCE_S)
    in_line(elections["third"], "second", "third")
    assert led == ["dead", "second"]
    terms["third"].set()
    terms["second"].set()
    results(*runs.values())
    assert led == ["dead", "second", "third"]


# --- barriers ------------------------------------------------------------------------------------------------------


def test_barrier_holds_all_until_it_is_removed(
    connect: Connect, port: int, path: str, pool: ThreadPoolExecutor
) -> None:
    keeper, *others = [connect() for _ in range(4)]
    barrier = keeper.Barrier(path)
    assert barrier.wait()  # there is none
    barrier.create()
    assert not keeper.Barrier(path).wait(timeout=0.01)
    waiting = [pool.submit(client.Barrier(path).wait) for client in others]
    watched(port, path, 4)
    assert not any(future.done() for future in waiting)
    assert barrier.remove()
    assert results(*waiting) == [True] * 3
    assert not barrier.remove()


@pytest.mark.parametrize("last", [0, -1], ids=["first", "last"])
def test_double_barrier_lets_nobody_in_or_out_before_all(
    connect: Connect, path: str, pool: ThreadPoolExecutor, last: int
) -> None:
    """`last`: which of the members, in the order of their znodes, keeps the others waiting."""
    client = connect()
    members = sorted((connect().DoubleBarrier(path, 3) for _ in range(3)), key=lambda member: member.node_name)
    names = [member.node_name for member in members]
    slow = members.pop(last)
    quick = [member.node_name for member in members]
    client.ensure_path(path)

    entering = [pool.submit(member.enter) for member in members]
    until(lambda: sorted(client.get_children(path)) == quick)
    assert not any(future.done() for future in entering)
    slow.enter()
    results(*entering)
    assert all(member.participating for member in (*members, slow))
    assert sorted(client.get_children(path)) == [*names, "ready"]

    leaving = [pool.submit(member.leave) for member in members]
    # The first of all stays until the others are gone; whoever else leaves is off the list at once.
    left = [names[0]] if slow.node_name == names[0] else [names[0], slow.node_name]
    until(lambda: sorted(client.get_children(path)) == left)
    assert not any(future.done() for future in leaving)
    slow.leave()
    results(*leaving)
    assert not any(member.participating for member in (*members, slow))
    assert client.get_children(path) == []


# --- queues --------------------------------------------------------------------------------------------------------


def test_queue_gives_each_item_to_one_consumer(connect: Connect, path: str, pool: ThreadPoolExecutor) -> None:
    producers, consumers = [connect() for _ in range(2)], [connect() for _ in range(3)]
    items = {b"%d" % number for number in range(40)}
    taken: list[bytes] = []

    def produce(client: KazooClient, share: int) -> None:
        for number in range(share, 40, 2):
            client.Queue(path).put(b"%d" % number)

    def consume(client: KazooClient) -> None:
        queue = client.Queue(path)
        while len(taken) < len(items):
            item = queue.get()
            if item is not None:
                taken.append(item)

    together(
        pool,
        *[partial(produce, client, share) for share, client in enumerate(producers)],
        *[partial(consume, client) for client in consumers],
    )
    assert len(taken) == len(items)
    assert set(taken) == items
    assert len(producers[0].Queue(path)) == 0


def test_queue_is_in_order_of_priority_and_then_of_arrival(connect: Connect, path: str) -> None:
    one, other = connect().Queue(path), connect().Queue(path)
    one.put(b"plain 1")
    other.put(b"late", priority=999)
    other.put(b"plain 2")
    one.put(b"urgent", priority=0)
    assert (len(one), len(other)) == (4, 4)
    assert [connect().Queue(path).get() for _ in range(5)] == [b"urgent", b"plain 1", b"plain 2", b"late", None]


def test_locking_queue_gives_an_item_again_whose_consumer_died(
    connect: Connect, mortal: Mortal, path: str, pool: ThreadPoolExecutor
) -> None:
    client, other, (dying, proxy) = connect(), connect(), mortal()
    queue, second, lost = client.LockingQueue(path), other.LockingQueue(path), dying.LockingQueue(path)
    assert queue.get(timeout=0.01) is None
    queue.put_all([b"a", b"b"])
    with pytest.raises(TypeError):
        queue.put_all([b"c", "not bytes"])
    assert len(queue) == 2
    assert lost.get(timeout=PATIENCE_S) == b"a"
    assert lost.holds_lock()
    assert queue.get(timeout=PATIENCE_S) == b"b"
    assert queue.release()
    assert second.get(timeout=PATIENCE_S) == b"b"
    assert second.consume()
    assert not second.consume()
    waiting = pool.submit(queue.get, timeout=PATIENCE_S)
    mortal.kill(dying, proxy)
    assert waiting.result(PATIENCE_S) == b"a"
    proxy.mend()
    assert not dying.retry(lost.holds_lock)
    assert not dying.retry(lost.consume)
    assert queue.holds_lock()
    assert queue.consume()
    assert (len(queue), client.get_children(f"{path}/taken")) == (0, [])


def test_locking_queue_gives_each_item_to_one_of_those_who_wait(
    connect: Connect, path: str, pool: ThreadPoolExecutor
) -> None:
    consumers = [connect().LockingQueue(path) for _ in range(3)]
    producer = connect().LockingQueue(path)

    def consume(queue: Any) -> list[bytes]:
        done = []
        while (item := queue.get(timeout=PATIENCE_S)) != b"end":
            done.append(item)
            assert queue.consume()
        assert queue.consume()
        return done

    consuming = [pool.submit(consume, queue) for queue in consumers]
    for number in range(15):
        producer.put(b"%d" % number)
    producer.put_all([b"end"] * 3, priority=999)
    assert sorted(int(item) for done in results(*consuming) for item in done) == list(range(15))
    assert len(producer) == 0


# --- who is there, how many, whose turn ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Party", "ShallowParty"])
def test_party_is_those_who_joined_and_neither_left_nor_died(
    connect: Connect, mortal: Mortal, path: str, pool: ThreadPoolExecutor, kind: str
) -> None:
    dying, proxy = mortal()
    clients = {"dead": dying, **{name: connect() for name in ("gone", "here", "there")}}
    parties = {name: getattr(client, kind)(path, name) for name, client in clients.items()}
    guest = getattr(connect(), kind)(path)
    assert (list(guest), len(guest)) == ([], 0)
    together(pool, *[party.join for party in parties.values()])
    parties["here"].join()  # once more: still one
    assert sorted(guest) == sorted(parties)
    assert parties["gone"].leave()
    assert not parties["gone"].leave()
    assert sorted(parties["there"]) == ["dead", "here", "there"]
    mortal.kill(dying, proxy)
    until(lambda: len(guest) == 2)
    assert sorted(guest) == ["here", "there"]


def test_counter_counts_what_all_add(connect: Connect, path: str, pool: ThreadPoolExecutor) -> None:
    clients = [connect() for _ in range(4)]

    def count(client: KazooClient) -> list[tuple[int, int]]:
        counter, steps = client.Counter(path), []
        for _ in range(10):
            counter += 3
            steps.append((counter.pre_value, counter.post_value))
            counter -= 1
            steps.append((counter.pre_value, counter.post_value))
        return steps

    steps = list(chain(*together(pool, *[partial(count, client) for client in clients])))
    # Each change began where another had ended, and no two at the same one: laid end to end they are all of it.
    assert clients[0].Counter(path).value == 80
    assert sum(after - before for before, after in steps) == 80
    begun, ended = sorted(before for before, _ in steps), sorted(after for _, after in steps)
    assert sorted([*begun, 80]) == sorted([0, *ended])
    assert clients[0].get(path)[1].version == len(steps)


def test_counter_holds_fractions_and_curators_integers(connect: Connect, path: str) -> None:
    one, other = connect(), connect()
    fraction = one.Counter(f"{path}/float", default=1.0)
    fraction += 2.5
    assert other.Counter(f"{path}/float", default=1.0).value == 3.5
    shared = one.Counter(f"{path}/curator", support_curator=True)
    shared -= 2
    assert other.Counter(f"{path}/curator", support_curator=True).value == -2
    assert other.get(f"{path}/curator")[0] == b"\xff\xff\xff\xfe"


class Clock:
    """The time that the leases are told; it moves when the program says so."""

    def __init__(self) -> None:
        self.now = datetime(2020, 1, 1)

    def __call__(self) -> datetime:
        return self.now


def test_lease_is_one_clients_until_it_ends(connect: Connect, path: str, pool: ThreadPoolExecutor) -> None:
    clock, hour = Clock(), timedelta(hours=1)
    clients = {f"host {number}": connect() for number in range(4)}

    def ask(name: str) -> bool:
        return bool(clients[name].NonBlockingLease(path, hour, identifier=name, utcnow=clock))

    obtained = together(pool, *[partial(ask, name) for name in clients])
    assert obtained.count(True) == 1
    holder = list(clients)[obtained.index(True)]
    other = next(name for name in clients if name != holder)
    clock.now += timedelta(minutes=59)
    assert ask(holder)  # renewed: an hour from here
    clock.now += timedelta(minutes=59)
    assert not ask(other)
    clock.now += timedelta(minutes=1)
    assert ask(other)
    assert not ask(holder)


def test_leases_for_two_are_for_two(connect: Connect, path: str, pool: ThreadPoolExecutor) -> None:
    clock, hour = Clock(), timedelta(hours=1)
    clients = {f"host {number}": connect() for number in range(4)}

    def ask(name: str) -> bool:
        return bool(clients[name].MultiNonBlockingLease(2, path, hour, identifier=name, utcnow=clock))

    obtained = together(pool, *[partial(ask, name) for name in clients])
    assert obtained.count(True) == 2
    clock.now += hour
    others = [name for name, got in zip(clients, obtained, strict=True) if not got]
    assert [ask(name) for name in others] == [True, True]
    assert [ask(name) for name in clients] == [not got for got in obtained]


class Worker:
    """The program of kazoo's manual for a partitioned set, and a ledger that no two may have the same item in."""

    def __init__(self, client: KazooClient, path: str, name: str, ledger: dict[str, str], items: str) -> None:
        self.name, self.ledger = name, ledger
        self.client = client
        self.partitioner = client.SetPartitioner(path, set(items), identifier=name, time_boundary=0.1)
        self.items: list[str] = []
        self.ending = threading.Event()

    def work(self) -> None:
        while not self.ending.is_set():
            if self.partitioner.failed:
                raise AssertionError(f"{self.name} lost its partitioner")
            if self.partitioner.release:
                self._lay_down()
                self.partitioner.release_set()
            elif self.partitioner.acquired and not self.items:
                self.items = list(self.partitioner)
                for item in self.items:
                    assert self.ledger.setdefault(item, self.name) == self.name, f"{item} has two owners"
            else:
                self.partitioner.wait_for_acquire(0.05)
                self.ending.wait(0.01)
        self._lay_down()

    def _lay_down(self) -> None:
        items, self.items = self.items, []
        for item in items:
            assert self.ledger.pop(item) == self.name


def test_partitioned_set_is_all_of_it_and_nobody_shares_an_item(
    connect: Connect, mortal: Mortal, path: str, pool: ThreadPoolExecutor
) -> None:
    ledger: dict[str, str] = {}
    dying, proxy = mortal()
    clients = {"a": connect(), "b": connect(), "c": dying}
    workers = {name: Worker(client, path, name, ledger, "123456") for name, client in clients.items()}
    running = {name: pool.submit(worker.work) for name, worker in workers.items()}

    def shared(**shares: str) -> None:
        """Wait until each has these items, as the partitioner deals them out in turn."""
        whole = {item: name for name, items in shares.items() for item in items}

        def is_so() -> bool:
            for future in running.values():
                if future.done():
                    future.result()
            return dict(ledger) == whole

        until(is_so, f"shared as {ledger}, not {whole}")

    try:
        shared(a="14", b="25", c="36")
        workers["c"].ending.set()  # it works no more, and then it dies
        running.pop("c").result(PATIENCE_S)
        mortal.kill(dying, proxy)
        shared(a="135", b="246")
        workers["b"].ending.set()
        running.pop("b").result(PATIENCE_S)
        workers["b"].partitioner.finish()
        shared(a="123456")
        proxy.mend()
        until(lambda: workers["c"].partitioner.failed)
    finally:
        proxy.mend()
        for worker in workers.values():
            worker.ending.set()
    results(*running.values())
    workers["a"].partitioner.finish()


# --- over a restart ------------------------------------------------------------------------------------------------


def test_recipes_go_on_over_a_restart_of_the_server(
    running: Server, mortal: Mortal, path: str, pool: ThreadPoolExecutor
) -> None:
    (one, _), (other, _) = mortal(), mortal()
    held, next_lock = one.Lock(f"{path}/lock", "held"), other.Lock(f"{path}/lock", "next")
    party = one.Party(f"{path}/party", "one")
    counter = one.Counter(f"{path}/counter")
    queue = one.LockingQueue(f"{path}/queue")
    assert held.acquire()
    waiting = pool.submit(next_lock.acquire, timeout=PATIENCE_S)
    in_line(held, "held", "next")
    party.join()
    counter += 1
    queue.put(b"item")
    assert queue.get(timeout=PATIENCE_S) == b"item"
    mortal.restart(running)
    assert other.retry(held.contenders) == ["held", "next"]
    assert not waiting.done()
    assert other.retry(list, other.Party(f"{path}/party")) == ["one"]
    assert one.retry(queue.consume)
    one.retry(held.release)
    assert waiting.result(PATIENCE_S)
    counter += 1
    assert other.retry(lambda: other.Counter(f"{path}/counter").value) == 2
