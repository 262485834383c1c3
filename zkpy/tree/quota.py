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
_EQUALS: Final = re.compile("=")
_NUMBER: Final = re.compile("[+-]?[0-9]+")


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
        """Parse `text`. Raises ValueError where Apache's StatsTrack fails too."""
        self.values: dict[str, int] = {}
        if text is None:
            raise ValueError("null in place of a quota")
        pairs = _java_split(_PAIRS, text.decode(errors="replace")) if text else []
        for pair in pairs:
            parts = _java_split(_EQUALS, pair)
            if len(parts) < 2:
                raise ValueError(f"no number in {pair!r}")
            value = parts[1] or "-1"
            if not _NUMBER.fullmatch(value) or not -(1 << 63) <= int(value) < 1 << 63:
                raise ValueError(f"no number in {pair!r}")
            self.values[parts[0]] = int(value)

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


def exceeded(limits: bytes | None, usage: bytes | None, bytes_added: int, nodes_added: int) -> list[tuple[str, bool]]:
    """What a change would exceed: (text for the log, is it a hard limit), the count before the bytes.

    `limits` and `usage` are the data of the two nodes; usage is read only if there is a limit to compare it with. A
    hard limit replaces the soft one of its kind. Raises ValueError for texts that `Usage` cannot read.
    Source: ZooKeeperServer.checkQuota.
    """
    allowed = Usage(limits)
    used: Usage | None = None
    found = []
    for added, name, unit, hard_key in (
        (nodes_added, "count", "Count", "countHardLimit"),
        (bytes_added, "bytes", "Byte", "byteHardLimit"),
    ):
        hard = allowed.get(hard_key)
        limit = hard if hard > -1 else allowed.get(name)
        if not added or limit <= -1:
            continue
        if used is None:
            used = Usage(usage)
        now = used.get(name) + added
        if now > limit:
            kind = "hard" if hard > -1 else "soft"
            found.append((f"[current {name}={now}, {kind}{unit}Limit={limit}]", hard > -1))
    return found


def _java_split(separator: re.Pattern[str], text: str) -> list[str]:
    """`String.split`: empty strings at the end are dropped; a text without the separator is its own only part."""
    parts = separator.split(text)
    if len(parts) > 1:
        while parts and not parts[-1]:
            parts.pop()
    return parts
