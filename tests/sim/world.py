"""The world: virtual time, one pair of dice, and events in order.

    heap of (time, sequence, event) ─→ the next event ─→ time jumps there ─→ it happens, and may put more on the heap

Laws: one thread; nothing reads a real clock; every draw comes from `dice`, so a seed decides everything. Events of the
same millisecond happen in the order in which they were put. Read next: `network.py`, `disk.py`, `member.py`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

#: Where time begins, so that no member mistakes "never" for the first millisecond.
START_MS = 1_000
#: More than any world needs, by far: one that comes to so many events goes round in circles.
MOST_EVENTS = 1_000_000
#: A time that does not come.
NEVER_MS = 1 << 60


class Violation(Exception):
    """A judge has found a law broken."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(f"{law}: {text}")
        self.law = law


class World:
    """Time and what will happen. `story` holds lines for a reader, when somebody wants to read."""

    def __init__(self, seed: int, *, is_telling: bool = False) -> None:
        self.dice = random.Random(seed)
        self.now_ms = START_MS
        self.is_telling = is_telling
        self.story: list[str] = []
        self.events = 0
        #: Until then something may take longer than members, or messages between them, take in this world.
        self.disturbed_ms = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def at(self, when_ms: int, event: Callable[..., None], *args: Any) -> None:
        """Let this happen at that time, or at once if the time is over."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(when_ms, self.now_ms), self._sequence, event, args))

    def after(self, delay_ms: int, event: Callable[..., None], *args: Any) -> None:
        """Let this happen in so many milliseconds."""
        self._sequence += 1
        heapq.heappush(self._heap, (self.now_ms + delay_ms, self._sequence, event, args))

    def run(self, until_ms: int) -> None:
        """Everything up to that time."""
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            self.step()
        self.now_ms = until_ms

    def run_until(self, condition: Callable[[], bool], limit_ms: int, every_ms: int = 20) -> bool:
        """Let time pass until this holds, but not longer than that; does it hold?"""
        limit = self.now_ms + limit_ms
        while not condition():
            if self.now_ms >= limit:
                return False
            self.run(min(limit, self.now_ms + every_ms))
        return True

    def step(self) -> None:
        """The next event."""
        when_ms, _, event, args = heapq.heappop(self._heap)
        self.now_ms = when_ms
        self.events += 1
        if self.events > MOST_EVENTS:
            raise Violation("Liveness", f"no end after {MOST_EVENTS} events")
        event(*args)

    def tell(self, line: str) -> None:
        """A line of the story; whoever calls it asks `is_telling` first where making the line costs something."""
        if self.is_telling:
            self.story.append(f"{self.now_ms - START_MS:>7} {line}")
