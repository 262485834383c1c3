"""Latencies, counted: 64 buckets for each power of two of nanoseconds, so that what is read off is within 1.6 %.

0, 1, 2, ... 63 │ 64, 65, ... 127 │ 128, 130, ... 254 │ 256, 260, ...
 one each       │  one each       │  two each         │  four each
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

_BITS: Final = 6
_STEPS: Final = 1 << _BITS


class Histogram:
    """How often which latency, in nanoseconds, below 2^63."""

    __slots__ = ("counts", "max_ns", "total")

    def __init__(self) -> None:
        self.counts = [0] * (_STEPS * _STEPS)
        self.total = 0
        self.max_ns = 0

    def add(self, ns: int, times: int = 1) -> None:
        """So many operations took so long."""
        power = ns.bit_length() - 1 - _BITS
        self.counts[ns if power < 0 else (power + 1) * _STEPS + (ns >> power) - _STEPS] += times
        self.total += times
        if ns > self.max_ns:
            self.max_ns = ns

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """(from, up to, how many) of those that are not empty, in order; what is `up to` is in the next one."""
        for index, count in enumerate(self.counts):
            if count:
                yield _begin(index), _begin(index + 1), count

    def percentile(self, share: float) -> float:
        """So many nanoseconds or less for this share of all: the middle of a bucket. 0 of nothing."""
        goal = self.total * share
        seen = 0
        for begin, end, count in self.buckets():
            seen += count
            if seen > goal or seen == self.total:
                return min((begin + end) / 2, float(self.max_ns))
        return 0.0

    def rows(self, most: int) -> list[tuple[float, int]]:
        """(up to so many ns, how many) from the fastest to the slowest: four, two or one rows for each power of two.

        The finest of these that makes at most so many rows; the last if none does.
        """
        rows: list[tuple[float, int]] = []
        for steps in (4, 2, 1):
            found: dict[int, int] = {}
            for _, end, count in self.buckets():
                row = math.ceil(math.log2(end) * steps)
                found[row] = found.get(row, 0) + count
            rows = (
                [(2 ** (row / steps), found.get(row, 0)) for row in range(min(found), max(found) + 1)] if found else []
            )
            if len(rows) <= most:
                break
        return rows


def _begin(index: int) -> int:
    """Where a bucket begins."""
    if index < _STEPS:
        return index
    return (_STEPS + index % _STEPS) << (index // _STEPS - 1)
