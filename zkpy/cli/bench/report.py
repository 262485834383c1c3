"""What people and programs get to see: a line that moves while it runs, tables, histograms, JSON."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from zkpy.cli.bench.interval import Interval
from zkpy.cli.bench.shapes import ms, table
from zkpy.cli.bench.wire import Asked

PERCENTILES: Final = (50, 90, 99, 99.9)
_HEADER: Final = (
    "shape", "ops/s", *(f"p{share:g} ms" for share in PERCENTILES), "max ms", "own CPU", "waiting",
)  # fmt: skip
_BAR_WIDTH: Final = 40
_PROGRESS_WIDTH: Final = 16
_MOST_ROWS: Final = 16
#: From a full block to an eighth of one.
_PARTS: Final = " ▏▎▍▌▋▊▉█"


class Progress:
    """One line on a terminal, written anew again and again; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0
        self._is_terminal = sys.stderr.isatty()
        self._is_shown = False

    def tell(self, interval: Interval) -> None:
        """How far this measurement is."""
        if not self._is_terminal:
            return
        past, whole = interval.now_ns - interval.begun_ns, interval.until_ns - interval.begun_ns
        share = min(1.0, past / whole) if whole else 1.0
        where = f"{interval.shape.name} {bar(share, _PROGRESS_WIDTH).ljust(_PROGRESS_WIDTH)} {past / 1e9:.1f} s"
        if not interval.histogram.total:
            said = "warming up" if interval.now_ns < interval.from_ns else "nothing answered yet"
        else:
            p50, p99 = (ms(interval.histogram.percentile(share) / 1000) for share in (0.5, 0.99))
            said = f"{interval.rate:,.0f}/s, p50 {p50} ms, p99 {p99} ms"
        self.say(f"[{self.number}/{self.total}] {where}  {said}")

    def removing(self, count: int) -> None:
        """How much has been removed."""
        if count % 1000 == 0:
            self.say(f"[{self.number}/{self.total}] removing what was made: {count:,}")

    def say(self, text: str) -> None:
        """Show this in place of what was shown before."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r{text[:width]}\x1b[K")
            sys.stderr.flush()
            self._is_shown = True

    def clear(self) -> None:
        """Leave the line empty, for what comes now."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_shown = False


def bar(share: float, width: int) -> str:
    """So much of the width, to an eighth of a character."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + _PARTS[eighths % 8].strip()


def title(servers: Sequence[Asked], size: int, nodes: int, seconds: float) -> str:
    """What was measured: each server, and how."""
    shown = []
    for server in servers:
        about = ", ".join(word for word in (server.version, server.mode) if word)
        shown.append(f"{server.name} ({about})" if about else server.name)
    return "\n".join([*shown, f"{size:,} bytes of data, {nodes:,} nodes, {seconds:g} s each"])


def result_table(intervals: Sequence[Interval]) -> Iterator[str]:
    """A line for each shape, and what is to be said about the generator's own part."""
    rows = []
    for interval in intervals:
        histogram = interval.histogram
        latencies = [*(histogram.percentile(share / 100) for share in PERCENTILES), histogram.max_ns]
        rows.append(
            [
                interval.shape.name,
                f"{interval.rate:,.0f}",
                *(ms(ns / 1000) if histogram.total else "-" for ns in latencies),
                f"{interval.own_cpu:.0%}",
                f"{interval.waiting:.0%}",
            ]
        )
    yield from table(_HEADER, rows)
    limits = [one.shape.name for one in intervals if one.is_own_limit]
    parts = [one.shape.name for one in intervals if one.has_own_part]
    if limits or parts:
        yield ""
    if limits:
        yield (
            f"! {', '.join(limits)}: zkpy bench itself was the limit, and hardly ever waited for the servers. They can"
            " do more."
        )
    if parts:
        yield f"! {', '.join(parts)}: zkpy bench itself had a part in it (see own CPU). A faster client would see more."


def histogram_lines(interval: Interval) -> Iterator[str]:
    """How many operations took how long."""
    histogram = interval.histogram
    yield f"latency of {interval.shape.name}, {histogram.total:,} operations"
    rows = histogram.rows(_MOST_ROWS)
    most = max((count for _, count in rows), default=0)
    up_to = [ms(edge / 1000) for edge, _ in rows]
    width = max((len(text) for text in up_to), default=0)
    seen = 0
    for text, (_, count) in zip(up_to, rows, strict=True):
        seen += count
        drawn = bar(count / most, _BAR_WIDTH) or ("▏" if count else "")
        yield (
            f"  up to {text:>{width}} ms  {drawn:<{_BAR_WIDTH}}  {count / histogram.total:7.2%}"
            f"  {seen / histogram.total:8.2%}"
        )


def as_json(
    servers: Sequence[Asked], settings: dict[str, Any], intervals: Sequence[Interval], notes: Sequence[str]
) -> dict[str, Any]:
    """All figures; times in milliseconds, null where nothing was answered."""
    return {
        "servers": [server._asdict() for server in servers],
        "settings": settings,
        "shapes": [_shape_as_json(interval) for interval in intervals],
        "notes": list(notes),
    }


def _shape_as_json(interval: Interval) -> dict[str, Any]:
    histogram = interval.histogram
    latencies = {f"p{share:g}_ms": histogram.percentile(share / 100) for share in PERCENTILES}
    latencies["max_ms"] = histogram.max_ns
    return {
        **interval.shape._asdict(),
        "name": interval.shape.name,
        "operations": histogram.total,
        "seconds": round(interval.seconds, 6),
        "rate": round(interval.rate, 1),
        **{name: round(ns / 1e6, 6) if histogram.total else None for name, ns in latencies.items()},
        "own_cpu": round(interval.own_cpu, 3),
        "waiting": round(interval.waiting, 3),
        "is_own_limit": interval.is_own_limit,
        "has_own_part": interval.has_own_part,
        "histogram": [{"up_to_ms": end / 1e6, "count": count} for _, end, count in histogram.buckets()],
    }
