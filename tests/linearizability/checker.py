"""Is a history of one register linearizable? The register is a znode: created, set, deleted, read; sets and deletes may
name the version that they expect.

    began ──────── takes effect, once, at one moment ──────── ended

The search is Wing and Gong's, with the configurations that it has seen remembered (Lowe): a configuration is the set of
operations done and the state they left. Histories of several registers are linearizable if each register's is, so each
is searched alone. Three things keep it short:

    what changes nothing and fits is done at once, for nothing can become impossible by that;
    a write's answer tells the version it made, so hardly ever two writes fit;
    an operation without an answer may be done or left out, and is tried only where it changes something.

The search is bounded: after LIMIT configurations it raises Undecided, which is no verdict.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Final

#: Configurations looked at for one register. Right histories take about one for each operation.
LIMIT: Final = 200_000
#: How many operations without an answer the words of a failure name.
TOLD: Final = 10

READ: Final = "read"
CREATE: Final = "create"
SET: Final = "set"
DELETE: Final = "delete"

OK: Final = "ok"
NO_NODE: Final = "no node"
NODE_EXISTS: Final = "node exists"
BAD_VERSION: Final = "bad version"
#: The connection was lost before the answer came.
UNKNOWN: Final = "unknown"

#: Whatever the version.
ANY: Final = -1

#: The value and the version of a znode that is there.
State = tuple[str, int] | None


@dataclass(eq=False)
class Operation:
    """One operation of one client on one register.

    `ended` is when its answer came; without one (UNKNOWN) it is when the operation can no longer take effect, if that
    is known. `state` is what a read has found, or what a write that went well has left.
    """

    kind: str
    began: float
    ended: float = inf
    outcome: str = UNKNOWN
    value: str = ""
    expected: int = ANY
    state: State = None
    client: str = ""

    def fits(self, state: State) -> bool:
        """Can it come at this state and end as it did? Without an answer it comes only where it changes something."""
        if self.kind == READ:
            return self.outcome == OK and state == self.state
        outcome = self._outcome_at(state)
        if self.outcome == UNKNOWN:
            return outcome == OK
        return outcome == self.outcome and (outcome != OK or self.after(state) == self.state)

    def after(self, state: State) -> State:
        """What it leaves of a state that it fits."""
        if self.kind == READ or self.outcome not in (OK, UNKNOWN):
            return state
        if self.kind == DELETE:
            return None
        return self.value, 0 if state is None else state[1] + 1

    def _outcome_at(self, state: State) -> str:
        """How a write must end."""
        if self.kind == CREATE:
            return OK if state is None else NODE_EXISTS
        if state is None:
            return NO_NODE
        return OK if self.expected in (ANY, state[1]) else BAD_VERSION

    def __str__(self) -> str:
        version = "" if self.expected == ANY else f" at version {self.expected}"
        value = f" {self.value!r}" if self.value else ""
        found = f" {self.state}" if self.outcome == OK and self.kind != DELETE else ""
        return (
            f"{self.client} {self.kind}{value}{version}: {self.outcome}{found}"
            f" [{self.began:.6f}, {'never' if self.ended == inf else f'{self.ended:.6f}'}]"
        )


class NotLinearizable(Exception):
    """No order of the operations explains what they have answered."""


class Undecided(Exception):
    """The search has become too long."""


def check(operations: Iterable[Operation], initial: State = None, limit: int = LIMIT) -> int:
    """Fail unless the history of this register is linearizable; how many configurations were looked at."""
    return Search(list(operations), initial, limit).run()


def check_all(history: dict[str, list[Operation]], limit: int = LIMIT) -> int:
    """The same for each register by itself; none is there at the beginning."""
    looked_at = 0
    for name, operations in history.items():
        try:
            looked_at += check(operations, limit=limit)
        except (NotLinearizable, Undecided) as error:
            error.add_note(f"register {name}, {len(operations)} operations")
            raise
    return looked_at


class Search:
    """One search. Operations that were answered are bits of `done`, the others bits of `used`."""

    def __init__(self, operations: list[Operation], initial: State, limit: int) -> None:
        operations = sorted(operations, key=lambda operation: operation.began)
        assert all(operation.began <= operation.ended for operation in operations)
        self.known = [operation for operation in operations if operation.outcome != UNKNOWN]
        self.lost = [operation for operation in operations if operation.outcome == UNKNOWN]
        self.initial = initial
        self.limit = limit
        # the configuration with the most operations done, for the words of a failure
        self.deepest: tuple[int, int, State] = (-1, 0, initial)

    def run(self) -> int:
        """Search to the end."""
        # (operations done; those without an answer that are done or too late; state; when the last one done began)
        stack: list[tuple[int, int, State, float]] = [(0, 0, self.initial, -inf)]
        seen = set()
        all_done = (1 << len(self.known)) - 1
        while stack:
            done, used, state, frontier = stack.pop()
            done, frontier = self._do_harmless(done, used, state, frontier)
            used |= self._late(used, frontier)
            if done == all_done:
                return len(seen) + 1
            if (done, used, state) in seen:
                continue
            seen.add((done, used, state))
            if len(seen) > self.limit:
                raise Undecided(f"more than {self.limit} configurations")
            if done.bit_count() > self.deepest[0]:
                self.deepest = (done.bit_count(), done, state)
            window, until = self._next(done)
            # Those tried first are put on the stack last: what was answered, the earliest answer first.
            for at, operation in enumerate(self.lost):
                if not used >> at & 1 and operation.began <= until and operation.fits(state):
                    after = operation.after(state)
                    stack.append((done, used | 1 << at, after, max(frontier, operation.began)))
            for at in sorted(window, key=lambda at: -self.known[at].ended):
                operation = self.known[at]
                if operation.fits(state):
                    stack.append((done | 1 << at, used, operation.after(state), max(frontier, operation.began)))
        raise NotLinearizable(self._story())

    def _next(self, done: int) -> tuple[list[int], float]:
        """Those that may come next: begun before any that is left has ended; and when the first of these ends."""
        known = self.known
        at = (~done & done + 1).bit_length() - 1
        until = inf
        window = []
        while at < len(known) and known[at].began <= until:
            if not done >> at & 1:
                window.append(at)
                until = min(until, known[at].ended)
            at += 1
        return [at for at in window if known[at].began <= until], until

    def _late(self, used: int, frontier: float) -> int:
        """Those without an answer that would have to come before what is done: whether they did is over."""
        late = 0
        for at, operation in enumerate(self.lost):
            if not used >> at & 1 and operation.ended < frontier:
                late |= 1 << at
        return late

    def _do_harmless(self, done: int, used: int, state: State, frontier: float) -> tuple[int, float]:
        """Do all that may come next, leaves the state as it is, and makes nothing else impossible."""
        # An operation without an answer that may still be done has to come before what began after its end.
        until = min((one.ended for at, one in enumerate(self.lost) if not used >> at & 1), default=inf)
        while True:
            before = done
            for at in self._next(done)[0]:
                operation = self.known[at]
                is_harmless = operation.kind == READ or operation.outcome != OK
                if is_harmless and operation.began <= until and operation.fits(state):
                    done |= 1 << at
                    frontier = max(frontier, operation.began)
            if done == before:
                return done, frontier

    def _story(self) -> str:
        """Where every order ends."""
        count, done, state = self.deepest
        window, until = self._next(done)
        lost = [str(operation) for operation in self.lost if operation.began <= until]
        return "\n  ".join(
            [
                f"{count} of {len(self.known)} answered operations can be put in order; the register is {state} then,"
                " and none of these can come next:",
                *(str(self.known[at]) for at in window),
                *lost[-TOLD:],
            ]
        )
