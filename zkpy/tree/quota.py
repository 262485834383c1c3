"""Quotas: limits that clients write under /zookeeper/quota, and the usage the server keeps beside them.

    /zookeeper/quota<path>/zookeeper_limits   count=…,bytes=…[=;byteHardLimit=…;countHardLimit=…]   written by clients
    /zookeeper/quota<path>/zookeeper_stats    count=…,bytes=…                                       kept by the server

The law: usage changes as a side effect of other txns, so it has no zxid, no version and no watch of its own; it is
rebuilt at every load and never trusted from disk. Only the longest prefix with a limit is charged.
Sources: Quotas, StatsTrack, DataTree.updateQuotaStat, ZooKeeperServer.checkQuota.
"""

import re
from typing import Final

ROOT: Final = "/zookeeper/quota"
LIMITS: Final = "zookeeper_limits"
STATS: Final = "zookeeper_stats"
NAMES: Final = frozenset((LIMITS, STATS))
_SUBTREE: Final = ROOT + "/"
_PAIRS: Final = re.compile("[,;]+")


def limits_path(path: str) -> str:
    """Where the limits of `path` stand."""
    return f"{ROOT}{path}/{LIMITS}"


def stats_path(path: str) -> str:
    """Where the usage of `path` stands."""
    return f"{ROOT}{path}/{STATS}"


def quota_of(parent: str) -> str | None:
    """The path that quota nodes under `parent` speak of, or None if `parent` is no place for quota nodes."""
    return parent[len(ROOT) :] if parent.startswith(_SUBTREE) else None


class Usage:
    """The text of a limits or stats node as numbers; -1 means not set."""

    __slots__ = ("values",)

    def __init__(self, text: bytes | None) -> None:
        """Parse `text`. Raises ValueError where Apache's StatsTrack would fail too."""
        self.values: dict[str, int] = {}
        for pair in _PAIRS.split((text or b"").decode(errors="replace")):
            if pair:
                key, _, value = pair.partition("=")
                value = value.rstrip("=")
                self.values[key] = int(value) if value else -1

    def get(self, key: str) -> int:
        """The number under `key`, -1 if it is not there."""
        return self.values.get(key, -1)

    def to_bytes(self) -> bytes:
        """The text: count and bytes first, then a `=` that stops old parsers, then the rest in order of name."""
        text = f"count={self.get('count')},bytes={self.get('bytes')}"
        more = sorted(key for key in self.values if key not in ("count", "bytes"))
        if more:
            text += "=" + "".join(f";{key}={self.values[key]}" for key in more)
        return text.encode()


class QuotaPaths:
    """The paths that have limits, to find the one that a change counts against."""

    __slots__ = ("paths",)

    def __init__(self) -> None:
        self.paths: dict[str, None] = {}

    def longest_prefix(self, path: str) -> str | None:
        """The deepest path with limits at or above `path`; None if there is none. The root never has a quota."""
        paths = self.paths
        while path and path != "/":
            if path in paths:
                return path
            path = path[: path.rindex("/")]
        return None


def exceeded(limits: Usage, usage: Usage, bytes_added: int, nodes_added: int) -> list[tuple[str, bool]]:
    """What a change would exceed: (text for the log, is it a hard limit), the count before the bytes.

    A hard limit replaces the soft one of its kind (ZooKeeperServer.checkQuota).
    """
    found = []
    for added, name, unit, hard_key in (
        (nodes_added, "count", "Count", "countHardLimit"),
        (bytes_added, "bytes", "Byte", "byteHardLimit"),
    ):
        if not added:
            continue
        hard = limits.get(hard_key)
        limit = hard if hard > -1 else limits.get(name)
        now = usage.get(name) + added
        if limit > -1 and now > limit:
            kind = "hard" if hard > -1 else "soft"
            found.append((f"[current {name}={now}, {kind}{unit}Limit={limit}]", hard > -1))
    return found
