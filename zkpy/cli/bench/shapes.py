"""The shapes of load, and how figures are written: what `zkpy bench` and scripts/bench have in common.

A shape is an operation and CONNECTIONSxINFLIGHT: `get:50x16` is 50 connections that keep 16 requests each in flight.

Its law: the standard library alone. scripts/bench takes this as a file, and must run on any Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

#: What can be measured, and what one operation of it is.
OPERATIONS: Final = {
    "get": "read the data of a node, one of many at random",
    "set": "write the data of a node, one of many at random",
    "create": "make a node, a new one under one of 16 parents",
    "mixed": "nine gets to one set, at random",
    "session": "connect, handshake, closeSession, close",
    "watch": "one event delivered: a writer sets a node that all the connections watch",
}
#: These have no requests in flight: one thing at a time on each connection.
ONE_AT_A_TIME: Final = frozenset(("session", "watch"))
MOST_IN_FLIGHT: Final = 255


class Shape(NamedTuple):
    """An operation, on so many connections (of a watch: so many watchers), with so many requests in flight on each."""

    op: str
    connections: int
    in_flight: int = 1

    @property
    def name(self) -> str:
        """As tables call it."""
        size = str(self.connections) if self.op in ONE_AT_A_TIME else f"{self.connections}x{self.in_flight}"
        return f"{self.op} {size}"


def parse_shapes(words: Iterable[str], sizes: Mapping[str, Sequence[str]], most_connections: int) -> list[Shape]:
    """`get:50x16`, or a bare operation for each of its `sizes`. Raises ValueError, with what is wrong."""
    shapes = []
    for word in words:
        op, colon, size = word.strip().partition(":")
        if op not in OPERATIONS:
            raise ValueError(f"unknown shape {op!r}; known: {', '.join(OPERATIONS)}")
        for each in [size] if colon else sizes[op]:
            match = re.fullmatch(r"(\d+)(?:x(\d+))?", each, re.ASCII)
            if not match:
                raise ValueError(f"{each!r} is not CONNECTIONS or CONNECTIONSxINFLIGHT")
            if op in ONE_AT_A_TIME and match[2]:
                raise ValueError(f"{word!r}: {op} has connections, and nothing in flight")
            shape = Shape(op, int(match[1]), int(match[2] or 1))
            if not (1 <= shape.connections <= most_connections and 1 <= shape.in_flight <= MOST_IN_FLIGHT):
                raise ValueError(f"{each!r}: 1 to {most_connections} connections, 1 to {MOST_IN_FLIGHT} in flight")
            shapes.append(shape)
    return shapes


def ms(us: float) -> str:
    """Microseconds as milliseconds with three digits that mean something."""
    value = us / 1000
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool = False) -> Iterator[str]:
    """Lines: the first column to the left, figures to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    edge, gap = ("| ", " | ") if markdown else ("", "  ")

    def line(cells: Sequence[str]) -> str:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        aligned[0] = cells[0].ljust(widths[0])
        return (edge + gap.join(aligned) + edge[::-1]).rstrip()

    yield line(header)
    if markdown:
        yield "|" + "|".join("-" * (width + 2 - bool(i)) + ":" * bool(i) for i, width in enumerate(widths)) + "|"
    for row in rows:
        yield line(row)
