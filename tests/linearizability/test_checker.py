"""The checker against histories that are right because a register made them, and against wrong ones."""

import random
import time
from dataclasses import replace
from math import inf

import pytest

from tests.linearizability.checker import (
    BAD_VERSION,
    CREATE,
    DELETE,
    NO_NODE,
    NODE_EXISTS,
    OK,
    READ,
    SET,
    UNKNOWN,
    NotLinearizable,
    Operation,
    State,
    Undecided,
    check,
    check_all,
)

A: State = ("a", 0)


def read(began: float, ended: float, state: State) -> Operation:
    return Operation(READ, began, ended, OK, state=state)


def create(began: float, ended: float, value: str, outcome: str = OK) -> Operation:
    return Operation(CREATE, began, ended, outcome, value, state=(value, 0) if outcome == OK else None)


def set_(began: float, ended: float, value: str, version: int, expected: int = -1) -> Operation:
    return Operation(SET, began, ended, OK, value, expected, (value, version))


def lost(kind: str, began: float, value: str = "", expected: int = -1, ended: float = inf) -> Operation:
    return Operation(kind, began, ended, UNKNOWN, value, expected)


RIGHT = {
    "nothing": [],
    "one after the other": [create(0, 1, "a"), read(2, 3, A), set_(4, 5, "b", 1), read(6, 7, ("b", 1))],
    "a read during a write sees it": [create(0, 1, "a"), set_(2, 9, "b", 1), read(3, 4, ("b", 1))],
    "a read during a write does not see it yet": [create(0, 1, "a"), set_(2, 9, "b", 1), read(3, 4, A)],
    "two writes at once in either order": [
        create(0, 1, "a"), set_(2, 9, "b", 2), set_(2, 9, "c", 1), read(10, 11, ("b", 2)),
    ],
    "the version decides between two": [
        create(0, 1, "a"), set_(2, 9, "b", 1, 0), Operation(SET, 2, 9, BAD_VERSION, "c", 0), read(10, 11, ("b", 1)),
    ],
    "a lost write was done": [create(0, 1, "a"), lost(SET, 2, "b"), read(5, 6, ("b", 1))],
    "a lost write is done much later": [create(0, 1, "a"), lost(SET, 2, "b"), read(5, 6, A), read(7, 8, ("b", 1))],
    "a lost write was not done": [create(0, 1, "a"), lost(SET, 2, "b"), read(5, 6, A), set_(7, 8, "c", 1)],
    "the version tells that a lost write was done": [create(0, 1, "a"), lost(SET, 2, "b"), set_(7, 8, "c", 2)],
    "two of three lost writes were done": [
        create(0, 1, "a"), *(lost(SET, 2, value) for value in "bcd"), read(5, 6, ("d", 2)),
    ],
    "deleted and created anew": [
        create(0, 1, "a"), Operation(DELETE, 2, 3, OK), read(4, 5, None), Operation(DELETE, 6, 7, NO_NODE),
        create(8, 9, "b"), create(10, 11, "c", NODE_EXISTS), read(12, 13, ("b", 0)),
    ],
    "a lost create, deleted before the read of nothing": [
        read(0, 1, None), lost(CREATE, 2, "a", ended=3), read(4, 9, None), Operation(DELETE, 4, 9, OK),
    ],
}  # fmt: skip

WRONG = {
    "a read of the past": [create(0, 1, "a"), set_(2, 3, "b", 1), read(4, 5, A)],
    "a read of the future": [create(0, 1, "a"), read(2, 3, ("b", 1)), set_(4, 5, "b", 1)],
    "new, then old": [create(0, 1, "a"), set_(2, 9, "b", 1), read(3, 4, ("b", 1)), read(5, 6, A)],
    "an acknowledged write is lost": [create(0, 1, "a"), set_(2, 3, "b", 1), set_(4, 5, "c", 1)],
    "a write done twice": [create(0, 1, "a"), set_(2, 3, "b", 1), read(4, 5, ("b", 2))],
    "two writers at one version": [create(0, 1, "a"), set_(2, 9, "b", 1, 0), set_(2, 9, "c", 1, 0)],
    "two creators": [create(0, 9, "a"), create(0, 9, "b")],
    "a value that nobody wrote": [create(0, 1, "a"), read(2, 3, ("x", 0))],
    "refused though the version fits": [create(0, 1, "a"), Operation(SET, 2, 3, BAD_VERSION, "b", 0)],
    "refused though it was not there": [create(0, 1, "a", NODE_EXISTS)],
    "not there though it was created": [create(0, 1, "a"), Operation(DELETE, 2, 3, NO_NODE)],
    "a deleted node comes back": [create(0, 1, "a"), Operation(DELETE, 2, 3, OK), read(4, 5, A)],
    "a lost write before it began": [create(0, 1, "a"), read(2, 3, ("b", 1)), lost(SET, 4, "b")],
    "a lost write after its session went on": [
        create(0, 1, "a"), lost(SET, 2, "b", ended=3), read(4, 5, A), read(6, 7, ("b", 1)),
    ],
    "a lost write done twice": [
        create(0, 1, "a"), lost(SET, 2, "b"), read(3, 4, ("b", 1)), set_(5, 6, "c", 2), read(7, 8, ("b", 3)),
    ],
    "a lost write that did not fit": [create(0, 1, "a"), lost(SET, 2, "b", expected=4), read(5, 6, ("b", 1))],
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_history_is_accepted(name: str) -> None:
    check(RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_history_is_refused(name: str) -> None:
    with pytest.raises(NotLinearizable, match="none of these can come next"):
        check(WRONG[name])


def test_each_register_is_judged_by_itself_and_named() -> None:
    check_all({"/a": RIGHT["one after the other"], "/b": RIGHT["one after the other"]})
    with pytest.raises(NotLinearizable) as caught:
        check_all({"/a": RIGHT["one after the other"], "/b": WRONG["a read of the past"]})
    assert caught.value.__notes__ == ["register /b, 3 operations"]


class Register:
    """A register and its clients: each operation takes effect at one moment of its own."""

    def __init__(self, seed: int, clients: int, losses: float) -> None:
        self.dice = random.Random(seed)
        self.clients = clients
        self.losses = losses
        self.state: State = None
        self.free_at = [0.0] * clients
        self.values = 0
        # by client: the operations without an answer that may still take effect, as far as is known
        self.open: dict[str, list[Operation]] = {}

    def history(self, count: int) -> list[Operation]:
        """So many operations; the later they begin, the later they take effect, give or take their length."""
        dice = self.dice
        planned = []
        for _ in range(count):
            client = dice.randrange(self.clients)
            began = self.free_at[client] + dice.random()
            moment = began + dice.random()
            ended = moment + dice.random()
            self.free_at[client] = ended
            planned.append((moment, began, ended, client))
        return [self._do(began, ended, client) for _, began, ended, client in sorted(planned)]

    def _do(self, began: float, ended: float, client: int) -> Operation:
        dice = self.dice
        self.values += 1
        kind = dice.choice((READ, READ, SET, SET, SET, CREATE, DELETE))
        expected = -1
        if kind in (SET, DELETE) and self.state is not None and dice.random() < 0.7:
            expected = self.state[1] + dice.choice((0, 0, 0, -1 if self.state[1] else 1))
        operation = Operation(kind, began, ended, OK, str(self.values), expected, client=f"c{client}")
        if kind != READ:
            operation.outcome = operation._outcome_at(self.state)
        if operation.outcome == OK:
            operation.state = self.state = operation.after(self.state)
        lost = self.open.setdefault(operation.client, [])
        if kind != READ and dice.random() < self.losses:
            operation.outcome, operation.state, operation.ended = UNKNOWN, None, inf
            lost.append(operation)
        elif kind != READ:
            for other in lost:  # its session went on
                other.ended = ended
            lost.clear()
        return operation


@pytest.mark.parametrize("seed", range(20))
def test_what_a_register_answers_is_linearizable_and_a_falsified_read_is_not(seed: int) -> None:
    history = Register(seed, clients=5, losses=0.02).history(400)
    check(history)
    dice = random.Random(seed)
    reads = [at for at, operation in enumerate(history) if operation.kind == READ and operation.state is not None]
    at = dice.choice(reads[len(reads) // 2 :])
    value, version = history[at].state or ("", 0)
    for false in ((value, version + 1), ("never written", version), history[reads[0]].state):
        with pytest.raises(NotLinearizable):
            check([*history[:at], replace(history[at], state=false), *history[at + 1 :]])


def test_long_histories_of_many_clients_are_judged_quickly() -> None:
    """Both ways: a right one, and one in which the last read is wrong."""
    history = Register(1, clients=16, losses=0.01).history(8000)
    began = time.process_time()
    assert check(history) < 40_000
    with pytest.raises(NotLinearizable):
        check([*history, read(1e6, 2e6, ("never written", 0))])
    assert time.process_time() - began < 30


def test_a_search_without_end_says_so() -> None:
    history = [create(0, 1, "a"), *(lost(SET, 2, f"v{number}") for number in range(40)), read(3, 4, ("none", 20))]
    with pytest.raises(Undecided, match="more than 2000 configurations"):
        check(history, limit=2000)


def has_order(operations: list[Operation], state: State = None) -> bool:
    """By trying all of them: the definition."""
    if all(operation.outcome == UNKNOWN for operation in operations):
        return True
    for operation in operations:
        rest = [other for other in operations if other is not operation]
        if operation.outcome == UNKNOWN and has_order(rest, state):
            return True
        is_first = all(operation.began <= other.ended for other in rest if other.outcome != UNKNOWN)
        # One without an answer that should have come before this cannot come any more.
        later = [other for other in rest if other.outcome != UNKNOWN or operation.began <= other.ended]
        if is_first and operation.fits(state) and has_order(later, operation.after(state)):
            return True
    return False


def test_the_search_finds_an_order_exactly_when_there_is_one() -> None:
    dice = random.Random(7)
    verdicts = {True: 0, False: 0}
    for _ in range(1500):
        history = []
        for number in range(dice.randrange(2, 7)):
            began = dice.randrange(8)
            kind = dice.choice((READ, SET, CREATE, DELETE))
            outcome = OK if kind == READ else dice.choice((OK, OK, UNKNOWN, NO_NODE if kind != CREATE else NODE_EXISTS))
            state = dice.choice((None, ("0", 0), ("0", 1), ("1", 0), ("1", 1), ("2", 1)))
            if kind in (SET, CREATE):
                state = (str(number), 0 if kind == CREATE else dice.randrange(1, 3)) if outcome == OK else None
            elif kind == DELETE:
                state = None
            ended = began + dice.randrange(1, 6) if outcome != UNKNOWN or dice.random() < 0.6 else inf
            history.append(Operation(kind, began, ended, outcome, str(number), dice.choice((-1, -1, 0)), state))
        is_right = has_order(history)
        verdicts[is_right] += 1
        if is_right:
            check(history)
        else:
            with pytest.raises(NotLinearizable):
                check(history)
    assert min(verdicts.values()) > 100
