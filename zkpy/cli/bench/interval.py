"""What is measured, from when to when, and how busy the generator itself was.

    begin ── warm-up ──→ from ── latencies are recorded ──→ until ── what is in flight comes home ──→

The law of honesty: where the generator hardly ever waits for the server, it is the generator that has been measured. So
its processor time and the time it spent waiting are kept, and `is_own_limit` and `has_own_part` say what they mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from zkpy.cli.bench.histogram import Histogram
from zkpy.cli.bench.shapes import Shape
from zkpy.cli.bench.wire import SILENCE_S
from zkpy.cli.connecting import Unavailable

#: Between two looks at the clock at the latest, in seconds, and between two tellings of progress.
STEP_S: Final = 0.1
TELL_NS: Final = 200_000_000
#: The generator was the limit below this share of the time spent waiting, or above so much of a core. Against a server
#: that answers canned bytes it waits for 2 to 17 % of the time: to ask what has arrived takes time even when some has.
OWN_LIMIT_WAITING: Final = 0.2
OWN_LIMIT_CPU: Final = 0.85
#: Above so much it had a part in it. A rough line, from one run of each shape at 50x1 beside bench_load on one server:
#: it saw 11 % less at 42 % of a core, 15 to 19 % at 53 to 72 %; at 64 % gets were 37 % less, and mixed not less at all.
OWN_PART_CPU: Final = 0.5
_S: Final = 1_000_000_000


class Interval:
    """One shape, measured once."""

    def __init__(self, shape: Shape, warmup_s: float, duration_s: float, on_tell: Callable[[Interval], None]) -> None:
        self.shape = shape
        self.histogram = Histogram()
        #: Ends early when this is set, by a signal.
        self.is_interrupted = False
        self.waited_ns = 0
        self.own_cpu_ns = 0
        self._on_tell = on_tell
        self._warmup_ns, self._duration_ns = round(warmup_s * _S), round(duration_s * _S)
        self.begun_ns = self.from_ns = self.until_ns = self.now_ns = self._tell_ns = self._heard_ns = 0
        self._cpu_from: int | None = None
        self._is_over = False

    def begin(self) -> None:
        """The first request is about to be sent."""
        self.begun_ns = self.now_ns = self._heard_ns = self._tell_ns = time.perf_counter_ns()
        self.from_ns = self.begun_ns + self._warmup_ns
        self.until_ns = self.from_ns + self._duration_ns

    def woken(self, before_ns: int, heard: bool) -> None:
        """Called after each wait, which began then: keeps the books. Raises Unavailable after a long silence."""
        now = self.now_ns = time.perf_counter_ns()
        if heard:
            self._heard_ns = now
        elif now - self._heard_ns > SILENCE_S * _S:
            raise Unavailable(f"no reply for {SILENCE_S:g} s at {self.shape.name}: the server has failed or hangs")
        if self._cpu_from is None and now >= self.from_ns:
            self._cpu_from = time.thread_time_ns()
        elif before_ns >= self.from_ns and now < self.until_ns:
            self.waited_ns += now - before_ns
        if self.is_interrupted and now < self.until_ns:
            self.until_ns = now
        if not self._is_over and now >= self.until_ns:
            self._is_over = True
            if self._cpu_from is not None:
                self.own_cpu_ns = time.thread_time_ns() - self._cpu_from
        if now >= self._tell_ns:
            self._tell_ns = now + TELL_NS
            self._on_tell(self)

    def record(self, now_ns: int, ns: int, count: int = 1) -> None:
        """So many operations took so long, as seen now; they count if that is inside."""
        if self.from_ns <= now_ns < self.until_ns:
            self.histogram.add(ns, count)

    @property
    def seconds(self) -> float:
        """How long it is, or has been so far."""
        return max(0, min(self.now_ns, self.until_ns) - self.from_ns) / _S

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.histogram.total / self.seconds if self.seconds else 0.0

    @property
    def own_cpu(self) -> float:
        """The generator's processor time, in cores."""
        return self.own_cpu_ns / _S / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """The share of the time that it had nothing to do but wait for the servers."""
        return self.waited_ns / _S / self.seconds if self.seconds else 0.0

    @property
    def has_own_part(self) -> bool:
        """Was it not the limit, but would a faster client have seen more?"""
        return not self.is_own_limit and self.own_cpu > OWN_PART_CPU

    @property
    def is_own_limit(self) -> bool:
        """Was it the generator that could do no more?"""
        return self.waiting < OWN_LIMIT_WAITING or self.own_cpu > OWN_LIMIT_CPU
