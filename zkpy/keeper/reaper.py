"""Containers that are empty and TTL nodes that have outlived their time: who should go, and how fast.

A container goes once it had a child and has none, or was never used for as long as the settings allow; a TTL node
goes when it has no children and nobody set its data for its ttl. Source: ContainerManager.
"""

from collections import deque

from zkpy.keeper.settings import Settings
from zkpy.tree.datatree import DataTree
from zkpy.tree.znode import TTL_MASK


class Reaper:
    """Looks through the candidates every check interval, and hands them out no faster than the settings allow."""

    __slots__ = ("_interval_ms", "_next_check_ms", "_next_hand_out_us", "_queue", "_settings", "_spacing_us", "_tree")

    def __init__(self, tree: DataTree, settings: Settings, now_ms: int) -> None:
        self._tree = tree
        self._settings = settings
        self._interval_ms = max(1, settings.container_check_interval_ms)
        self._spacing_us = 60_000_000 // max(1, settings.container_max_per_minute)
        self._next_check_ms = now_ms + self._interval_ms
        self._next_hand_out_us = now_ms * 1000
        self._queue: deque[str] = deque()

    def deadline_ms(self) -> int | None:
        """When `due` has something to say, None if there is no container and no TTL node at all."""
        if self._queue:
            return -(-self._next_hand_out_us // 1000)
        if not self._tree.containers and not self._tree.ttls:
            return None
        return self._next_check_ms

    def due(self, now_ms: int, wall_ms: int) -> list[str]:
        """The paths to delete now."""
        if now_ms >= self._next_check_ms:
            self._next_check_ms = now_ms + self._interval_ms
            waiting = set(self._queue)
            self._queue.extend(path for path in self._candidates(wall_ms) if path not in waiting)
        paths = []
        now_us = now_ms * 1000
        self._next_hand_out_us = max(self._next_hand_out_us, now_us - 1_000_000)
        while self._queue and self._next_hand_out_us <= now_us:
            self._next_hand_out_us += self._spacing_us
            paths.append(self._queue.popleft())
        return paths

    def _candidates(self, wall_ms: int) -> list[str]:
        nodes = self._tree.nodes
        never_used_ms = self._settings.container_max_never_used_ms
        found = []
        for path in self._tree.containers:
            node = nodes[path]
            unused_ms = wall_ms - node.mtime
            if not node.children and (node.cversion > 0 or (never_used_ms and unused_ms > never_used_ms)):
                found.append(path)
        for path in self._tree.ttls:
            node = nodes[path]
            if not node.children and wall_ms - node.mtime > node.owner & ~TTL_MASK:
                found.append(path)
        return found
