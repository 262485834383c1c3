"""Containers that are empty and TTL nodes that have outlived their time: who should go, and how fast.

A container goes once it had a child and has none, or was never used for as long as the settings allow; a TTL node
goes when it has no children and nobody set its data for its ttl. Source: ContainerManager.
"""

from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from zkpy.keeper.settings import Settings
from zkpy.tree.datatree import DataTree
from zkpy.tree.znode import TTL_MASK

#: How many are looked at in one turn: some milliseconds, and there may be millions.
LOOK_LIMIT: Final = 10_000


class Reaper:
    """Looks at all of them every check interval, some in a turn, and hands them out as fast as the settings allow."""

    __slots__ = (
        "_interval_ms",
        "_next_check_ms",
        "_next_hand_out_us",
        "_queue",
        "_queued",
        "_round",
        "_settings",
        "_spacing_us",
        "_tree",
    )

    def __init__(self, tree: DataTree, settings: Settings, now_ms: int) -> None:
        self._tree = tree
        self._settings = settings
        self._interval_ms = max(1, settings.container_check_interval_ms)
        self._spacing_us = 60_000_000 // max(1, settings.container_max_per_minute)
        self._next_check_ms = now_ms + self._interval_ms
        self._next_hand_out_us = now_ms * 1000
        # What is still to be looked at in this round, None between two rounds.
        self._round: Iterator[str] | None = None
        # Who is to go; the same twice, to hand them out and to look them up.
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()

    def deadline_ms(self) -> int | None:
        """When `due` has something to say, None if there is no container and no TTL node at all."""
        if self._round is not None:
            return 0
        if self._queue:
            return -(-self._next_hand_out_us // 1000)
        if not self._tree.containers and not self._tree.ttls:
            return None
        return self._next_check_ms

    def due(self, now_ms: int, wall_ms: int) -> list[str]:
        """The paths to delete now."""
        if now_ms >= self._next_check_ms and self._round is None:
            self._next_check_ms = now_ms + self._interval_ms
            # Copies, for both go on changing.
            self._round = chain(self._tree.containers.copy(), self._tree.ttls.copy())
        if self._round is not None:
            some = list(islice(self._round, LOOK_LIMIT))
            if len(some) < LOOK_LIMIT:
                self._round = None
            for path in some:
                if path not in self._queued and self._is_done_with(path, wall_ms):
                    self._queue.append(path)
                    self._queued.add(path)
        paths = []
        now_us = now_ms * 1000
        self._next_hand_out_us = max(self._next_hand_out_us, now_us - 1_000_000)
        while self._queue and self._next_hand_out_us <= now_us:
            self._next_hand_out_us += self._spacing_us
            paths.append(self._queue.popleft())
        self._queued.difference_update(paths)
        return paths

    def _is_done_with(self, path: str, wall_ms: int) -> bool:
        """May it go, if it is still there?"""
        node = self._tree.nodes.get(path)
        if node is None or node.children:
            return False
        unused_ms = wall_ms - node.mtime
        if path in self._tree.containers:
            never_used_ms = self._settings.container_max_never_used_ms
            return bool(node.cversion > 0 or (never_used_ms and unused_ms > never_used_ms))
        return path in self._tree.ttls and unused_ms > node.owner & ~TTL_MASK
