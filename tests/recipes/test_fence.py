"""Fences: in memory and in a table of sqlite3."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from zkpy.recipes import BadSequencer, MemoryFence, Mode, Sequencer, SqlFence, StaleSequencer

Admit = Callable[[Sequencer | str], None]


@pytest.fixture(params=["memory", "sql"])
def admit(request: pytest.FixtureRequest) -> Iterator[Admit]:
    """Ask a fence to let a sequencer pass."""
    if request.param == "memory":
        yield MemoryFence().admit
        return
    fence = SqlFence()
    with closing(sqlite3.connect(":memory:")) as connection:
        fence.create(connection)
        fence.create(connection)

        def admit_in_a_transaction(sequencer: Sequencer | str) -> None:
            with connection:
                fence.admit(connection, sequencer)

        yield admit_in_a_transaction


def exclusive(token: int, path: str = "/lock") -> Sequencer:
    return Sequencer(path, Mode.EXCLUSIVE, token, "node")


def shared(token: int) -> Sequencer:
    return Sequencer("/lock", Mode.SHARED, token, "node")


def test_an_older_holder_does_not_pass_once_a_newer_one_has(admit: Admit) -> None:
    admit(exclusive(2**40))
    admit(exclusive(2**40))
    admit(str(exclusive(2**40 + 2**33)))
    with pytest.raises(StaleSequencer, match="is older than"):
        admit(exclusive(2**40 + 5))
    admit(exclusive(2**40 + 2**33))
    admit(exclusive(2**63 - 1))


def test_every_lock_has_a_fence_of_its_own(admit: Admit) -> None:
    admit(exclusive(9, "/one"))
    admit(exclusive(3, "/two"))
    with pytest.raises(StaleSequencer):
        admit(exclusive(8, "/one"))


def test_shared_holders_pass_in_any_order_and_not_after_a_newer_exclusive_one(admit: Admit) -> None:
    admit(exclusive(5))
    for token in (8, 7, 9, 7):
        admit(shared(token))
    with pytest.raises(StaleSequencer):
        admit(exclusive(8))
    with pytest.raises(StaleSequencer):
        admit(shared(4))
    admit(exclusive(10))
    with pytest.raises(StaleSequencer):
        admit(shared(9))


def test_what_is_no_sequencer_does_not_pass(admit: Admit) -> None:
    with pytest.raises(BadSequencer):
        admit("12")
    with pytest.raises(ValueError, match="check_sequencer"):
        admit(Sequencer("/lock", Mode.PLACE, 5, "node"))


def test_check_and_effect_are_one_step_in_memory() -> None:
    fence = MemoryFence()
    order: list[str] = []
    is_inside = threading.Event()

    def newer() -> None:
        is_inside.wait()
        fence.admit(exclusive(6))
        order.append("newer")

    thread = threading.Thread(target=newer)
    thread.start()
    with fence.admitted(exclusive(5)):
        is_inside.set()
        thread.join(0.1)
        order.append("effect of the older")
    thread.join()
    assert order == ["effect of the older", "newer"]
    with pytest.raises(StaleSequencer), fence.admitted(exclusive(5)):
        order.append("never")
    assert len(order) == 2


def test_a_rejected_holders_writes_are_rolled_back_and_survive_nothing(tmp_path: Path) -> None:
    fence = SqlFence("payment_fence")
    with closing(sqlite3.connect(tmp_path / "bank.db")) as one, closing(sqlite3.connect(tmp_path / "bank.db")) as two:
        fence.create(one)
        one.execute("CREATE TABLE payments (id INTEGER PRIMARY KEY, leader INTEGER)")
        one.commit()

        def pay(connection: sqlite3.Connection, number: int, token: int) -> None:
            with connection:
                connection.execute("INSERT INTO payments VALUES (?, ?)", (number, token))
                fence.admit(connection, exclusive(token))

        pay(one, 1, 5)
        pay(two, 2, 6)
        with pytest.raises(StaleSequencer):
            pay(one, 3, 5)
        assert two.execute("SELECT id, leader FROM payments").fetchall() == [(1, 5), (2, 6)]
        fence.admit(one, exclusive(9))
        one.rollback()  # a transaction that fails has let nobody pass
        pay(two, 4, 6)


def test_a_table_has_a_name() -> None:
    with pytest.raises(ValueError, match="not the name of a table"):
        SqlFence("fence; DROP TABLE payments")
