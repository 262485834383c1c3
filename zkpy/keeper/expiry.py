"""Deadlines in buckets: thousands of sessions touched at every turn, looked at once per tick.

    deadline = ((now + timeout) // tick + 1) · tick      never early, at most one tick late

All that is due at one multiple of the tick shares a bucket; moving an entry costs something only when its bucket
changes. Times are integer milliseconds of a clock that only goes forward. Source: ExpiryQueue.
"""

from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

from sortedcontainers import SortedDict

E = TypeVar("E", bound=Hashable)


class ExpiryQueue(Generic[E]):
    """Entries by deadline; `deadlines` says when each is due."""

    __slots__ = ("buckets", "deadlines", "tick_ms")

    def __init__(self, tick_ms: int) -> None:
        assert tick_ms > 0
        self.tick_ms = tick_ms
        self.deadlines: dict[E, int] = {}
        # invariant: entry in buckets[deadlines[entry]], no empty bucket
        self.buckets: SortedDict[int, dict[E, None]] = SortedDict()

    def touch(self, entry: E, timeout_ms: int, now_ms: int) -> int:
        """Let `entry` live for another `timeout_ms`, rounded up to the tick; the new deadline."""
        deadline = ((now_ms + timeout_ms) // self.tick_ms + 1) * self.tick_ms
        before = self.deadlines.get(entry)
        if before == deadline:
            return deadline
        if before is not None:
            self._leave(entry, before)
        self.deadlines[entry] = deadline
        bucket = self.buckets.get(deadline)
        if bucket is None:
            self.buckets[deadline] = {entry: None}
        else:
            bucket[entry] = None
        return deadline

    def remove(self, entry: E) -> None:
        """Forget `entry`, if it is there."""
        before = self.deadlines.pop(entry, None)
        if before is not None:
            self._leave(entry, before)

    def next_deadline(self) -> int | None:
        """When the first bucket is due, None if there is nothing to wait for."""
        return self.buckets.peekitem(0)[0] if self.buckets else None

    def expired(self, now_ms: int, most: int) -> list[E]:
        """Take out what is due, in order of deadline and of arrival in the bucket; the rest if it is more than `most`
        stays due."""
        due: list[E] = []
        while self.buckets and len(due) < most:
            deadline, bucket = self.buckets.peekitem(0)
            if deadline > now_ms:
                break
            taken = list(islice(bucket, most - len(due)))
            for entry in taken:
                self.remove(entry)
            due += taken
        return due

    def _leave(self, entry: E, deadline: int) -> None:
        bucket = self.buckets[deadline]
        del bucket[entry]
        if not bucket:
            del self.buckets[deadline]
