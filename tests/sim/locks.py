"""The judge of locks: who holds by the servers' order of txns, and who believes to hold by the clock.

    holder        the lowest of the sequential znodes that are there, and nobody else: what the lock protects is written
                  by its session only, and a client that is granted the lock has that znode
    tokens        the czxid of a grant's znode: each grant's is greater than that of all grants before it
    belief        while one client may believe that it holds, no other is granted the lock

That the queue moves on, whatever became of a holder, is asked for in the end (`whole.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import NoReturn

from tests.sim.tale import short
from tests.sim.world import World

#: The contenders' parent, and what is written into it is what the lock protects.
LOCK = "/lock"


def number_of(path: str) -> int:
    """The number that a sequential znode has got."""
    return int(path[-10:])


class Locks:
    """One lock, as seen from the order."""

    def __init__(self, world: World, fail: Callable[[str, str], NoReturn], slack_ms: int) -> None:
        """`slack_ms`: how much sooner than its timeout a session may end, seen from a client, undisturbed."""
        self._world = world
        self._fail = fail
        self._slack_ms = slack_ms
        # path → (czxid, session), in the order's end; and the holder from each zxid on
        self._queue: dict[str, tuple[int, int]] = {}
        self._since = [0]
        self._holders = [""]
        # (zxid, token) of grants and writes under a grant, in the order of zxids
        self._grants: list[tuple[int, int]] = []
        # client → since when, and until when, it believes that it holds
        self._beliefs: dict[int, tuple[int, int]] = {}
        self.granted_count = 0

    # --- the order

    def created(self, zxid: int, path: str, session_id: int) -> None:
        """A contender stands in line."""
        self._queue[path] = (zxid, session_id)
        self._look(zxid)

    def removed(self, zxid: int, path: str) -> None:
        """A contender is gone."""
        del self._queue[path]
        self._look(zxid)

    def _look(self, zxid: int) -> None:
        holder = min(self._queue, key=number_of, default="")
        if holder != self._holders[-1]:
            self._since.append(zxid)
            self._holders.append(holder)

    def written(self, zxid: int, session_id: int, data: bytes) -> None:
        """What the lock protects is written, in the name of this znode."""
        path = data.decode()
        if path != self._holders[-1]:
            self._fail("Lock", f"{short(zxid)} is written for {path}, and {self._holders[-1] or 'nobody'} holds")
        token, owner = self._queue[path]
        if session_id != owner:
            self._fail("Lock", f"{short(zxid)} is written for {path} by {session_id:#x}, it is {owner:#x}'s")
        self._grant(zxid, token)

    # --- clients

    def granted(self, number: int, session_id: int, path: str, token: int, zxid: int) -> None:
        """A client is told at this zxid that it holds, with the znode of this czxid."""
        self.granted_count += 1
        holder = self._holders[bisect_right(self._since, zxid) - 1]
        if holder != path:
            self._fail("Lock", f"client {number} holds by {path} at {short(zxid)}, where {holder or 'nobody'} does")
        self._grant(zxid, token)
        now_ms = self._world.now_ms
        for other, (since_ms, until_ms) in self._beliefs.items():
            is_sure = since_ms >= self._world.disturbed_ms + self._slack_ms
            if other != number and is_sure and now_ms < until_ms - self._slack_ms:
                self._fail(
                    "Lock", f"client {number} is granted it while {other} believes so for {until_ms - now_ms} ms"
                )

    def renewed(self, number: int, asked_ms: int, timeout_ms: int) -> None:
        """A write that a holder has sent at that time was answered."""
        self._beliefs[number] = asked_ms, asked_ms + timeout_ms

    def believes(self, number: int) -> bool:
        """May this client believe that it holds?"""
        return number in self._beliefs and self._world.now_ms < self._beliefs[number][1]

    def given_up(self, number: int) -> None:
        """A client does not believe any more that it holds."""
        self._beliefs.pop(number, None)

    def _grant(self, zxid: int, token: int) -> None:
        grants = self._grants
        at = bisect_right(grants, (zxid, token))
        before = grants[at - 1][1] if at else 0
        after = grants[at][1] if at < len(grants) else token
        if not before <= token <= after:
            self._fail("Lock", f"the token {token:#x} at {short(zxid)} stands between {before:#x} and {after:#x}")
        grants.insert(at, (zxid, token))
