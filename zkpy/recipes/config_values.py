"""What a configuration is made of: entries, snapshots of all of them, changes from one snapshot to the next, errors.

Law: everything here is a value that never changes once made; nothing here asks a server.

A key is a path below the configuration's root without the leading slash ("checkout/limit"); the root itself is "". A
value is bytes; as what type it is read says who reads it, and a value that is not of that type is an error and never
silently the default: only absence is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from zkpy.recipes.errors import RecipeError

T = TypeVar("T")

#: The version of a key that does not exist, for compare-and-set; those of keys that exist are 0 and up.
ABSENT: Final = -1
#: How a boolean may be written, in small letters.
BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip

#: What servers refuse in a path.
FORBIDDEN: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\uf8ff\\ufff0-\\uffff]")

Value = bytes | str | bool | int | float


class _Required:
    """No default was given: absence is an error."""

    def __repr__(self) -> str:
        return "(required)"


REQUIRED: Final = _Required()


class ConfigError(RecipeError):
    """The base of all errors of a configuration."""


class NoKey(ConfigError, KeyError):
    """The key does not exist, and no default was given."""

    def __str__(self) -> str:
        return str(self.args[0])


class BadKey(ConfigError, ValueError):
    """That cannot be a key."""


class BadValue(ConfigError, ValueError):
    """The value is not of the type it was read as."""


class Conflict(ConfigError):
    """A compare-and-set found another version than the expected one; nothing was changed.

    `found` is the version there was (ABSENT for none), None if that is not known any more.
    """

    def __init__(self, key: str, expected: int, found: int | None) -> None:
        super().__init__(
            f"{key!r} was to be at version {_said(expected)} and is at {_said(found)}: nothing was changed"
        )
        self.key, self.expected, self.found = key, expected, found


class Stale(ConfigError):
    """The servers have not confirmed the cache for longer than the configuration allows; `age_s` says for how long."""

    def __init__(self, age_s: float, max_age_s: float) -> None:
        super().__init__(f"last confirmed {age_s:.1f} s ago, and {max_age_s:g} s are allowed")
        self.age_s = age_s


class Disconnected(ConfigError):
    """There is no connection, and there was none in the time given; nothing was changed."""


class Unsure(ConfigError):
    """The connection was lost or the time ran out while a change was under way: it may or may not have happened."""


def _said(version: int | None) -> str:
    return "another" if version is None else "none (absent)" if version == ABSENT else str(version)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's value, its version (counts its writes since it was created) and the zxid of the last write."""

    value: bytes
    version: int
    mzxid: int


class Readable:
    """Typed reads over `entry`. Each raises NoKey for a key that does not exist, unless a default is given."""

    __slots__ = ()

    def entry(self, key: str) -> Entry | None:
        """Value and version, None for a key that does not exist."""
        raise NotImplementedError

    def get_bytes(self, key: str, default: T | _Required = REQUIRED) -> bytes | T:
        """The value as it is."""
        entry = self.entry(key)
        if entry is not None:
            return entry.value
        if isinstance(default, _Required):
            raise NoKey(f"there is no key {key!r}")
        return default

    def get_str(self, key: str, default: T | _Required = REQUIRED) -> str | T:
        """The value as text. Raises BadValue unless it is UTF-8."""
        entry = self.entry(key)
        return self.get_bytes(key, default) if entry is None else _text(key, entry.value)  # type: ignore[return-value]

    def get_int(self, key: str, default: T | _Required = REQUIRED) -> int | T:
        """The value as a decimal integer. Raises BadValue if it is not one."""
        text = self.get_str(key, None)
        if text is None:
            return self.get_bytes(key, default)  # type: ignore[return-value]
        if not re.fullmatch(r"[+-]?[0-9]+", text.strip()):
            raise BadValue(f"{key!r} is {text!r}, which is no integer")
        return int(text)

    def get_float(self, key: str, default: T | _Required = REQUIRED) -> float | T:
        """The value as a finite number. Raises BadValue if it is not one."""
        text = self.get_str(key, None)
        if text is None:
            return self.get_bytes(key, default)  # type: ignore[return-value]
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadValue(f"{key!r} is {text!r}, which is no number")
        return number

    def get_bool(self, key: str, default: T | _Required = REQUIRED) -> bool | T:
        """The value as a boolean: true, yes, on, 1; false, no, off, 0. Raises BadValue for anything else."""
        text = self.get_str(key, None)
        if text is None:
            return self.get_bytes(key, default)  # type: ignore[return-value]
        found = BOOLEANS.get(text.strip().lower())
        if found is None:
            raise BadValue(f"{key!r} is {text!r}, which is neither true nor false")
        return found

    def get_json(self, key: str, default: Any = REQUIRED) -> Any:
        """The value as JSON. Raises BadValue if it is not."""
        text = self.get_str(key, None)
        if text is None:
            return self.get_bytes(key, default)
        try:
            return json.loads(text)
        except ValueError as error:
            raise BadValue(f"{key!r} is no JSON: {error}") from None


@dataclass(frozen=True, eq=False)
class Snapshot(Readable, Mapping[str, Entry]):
    """All keys and their entries as they stood together, at one moment of the servers' history.

    `zxid` is the last txn that changed anything in it (where there is no root, one no earlier than its deletion): two
    snapshots of one root with the same zxid are the same, whoever took them.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    zxid: int = 0

    def entry(self, key: str) -> Entry | None:
        """Value and version, None for a key that does not exist."""
        return self.entries.get(key)

    def below(self, key: str) -> dict[str, Entry]:
        """The key, if it exists, and all below it."""
        return {name: entry for name, entry in self.entries.items() if is_below(name, key)}

    def __getitem__(self, key: str) -> Entry:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<Snapshot of {len(self.entries)} keys at zxid {self.zxid:#x}>"


@dataclass(frozen=True, slots=True)
class Change:
    """One key's step from one snapshot to a later one. What lay between, if anything, is not told."""

    key: str
    old: Entry | None
    new: Entry | None
    #: All keys as they stood after this change; what changed together with it has changed there, too.
    snapshot: Snapshot

    @property
    def kind(self) -> Literal["created", "changed", "deleted"]:
        """What happened to the key."""
        return "created" if self.old is None else "deleted" if self.new is None else "changed"


def changes(old: Snapshot, new: Snapshot) -> list[Change]:
    """What became of each key that was created, written or deleted: deletions first, then writes as they happened."""
    if old is new:
        return []
    gone = [Change(key, entry, None, new) for key, entry in old.items() if key not in new]
    written = [
        Change(key, old.entry(key), entry, new)
        for key, entry in new.items()
        if (before := old.entry(key)) is None or before.mzxid != entry.mzxid
    ]
    gone.sort(key=lambda change: change.key)
    written.sort(key=lambda change: (change.new.mzxid if change.new else 0, change.key))
    return gone + written


def check_key(key: str) -> str:
    """The key itself. Raises BadKey, saying why, if it cannot be one."""
    if key == "":
        return key
    for part in key.split("/"):
        if part in ("", ".", ".."):
            raise BadKey(f"{key!r} is no key: {part!r} cannot stand between slashes (keys have no slash in front)")
    if found := FORBIDDEN.search(key):
        raise BadKey(f"{key!r} is no key: the servers allow no {found[0]!r} in a path")
    return key


def is_below(key: str, above: str) -> bool:
    """Is it the key `above` itself or one below it? (All are below the root, "".)"""
    return not above or key == above or key.startswith(f"{above}/")


def encode(value: Value) -> bytes:
    """A value as bytes, so that the read of its type gives it back."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return repr(value).encode()
    raise TypeError(f"a value is bytes, str, bool, int or float, not {type(value).__name__}")


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadValue(f"{key!r} is no text: its {len(value)} bytes are not UTF-8") from None
