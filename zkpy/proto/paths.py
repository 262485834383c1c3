"""Znode paths: which are legal, and the parts of one.

    path := "/" | ("/" name)+        name: any characters but these, and not "." or ".."

Never in a name: U+0000-001F and 007F-009F (control characters), D800-F8FF (surrogates, hence all that lies above
U+FFFF; private use), FFF0-FFFF. Law: the rules bind writes only; a read of an illegal path is a read of a znode that is
not there. Source: Apache's `PathUtils`.
"""

from __future__ import annotations

import re
from typing import Final

ROOT: Final = "/"

# What UTF-16 shows Apache as surrogates, Python shows as characters above U+FFFF: the last range covers them.
_ILLEGAL: Final = "\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff"
_LEGAL_PATH: Final = re.compile(rf"/|(?:/(?!\.\.?(?:/|\Z))[^/{_ILLEGAL}]+)+")
_ILLEGAL_CHARACTER: Final = re.compile(f"[{_ILLEGAL}]")
_RELATIVE_NAME: Final = re.compile(r"/\.\.?(?=/|\Z)")

_NO_NAMES: Final = ("", ".", "..")

_is_legal: Final = _LEGAL_PATH.fullmatch


def path_error(path: str | None) -> str | None:
    """Why this path cannot be written to, for a log; None if it can."""
    if path is not None and _is_legal(path):
        return None
    return _reason(path)


def _reason(path: str | None) -> str:
    if path is None:
        return "the path is null"
    if not path:
        return "the path is empty"
    if path[0] != "/":
        return "the path does not start with /"
    if found := _ILLEGAL_CHARACTER.search(path):
        return f"the path has an illegal character, U+{ord(found[0]):04X}, at {found.start()}"
    if "//" in path:
        return f"the path has an empty name at {path.index('//') + 1}"
    if path[-1] == "/":
        return "the path ends with /"
    relative = _RELATIVE_NAME.search(path)
    assert relative is not None, f"no fault in {path!r}"
    return f"the path has a relative name at {relative.start() + 1}"


def is_plain_name(name: str) -> bool:
    """Is this a legal name in ASCII? Quicker to say than `path_error`; `name` has no slash in it."""
    return name.isascii() and name.isprintable() and name not in _NO_NAMES


def parent_of(path: str) -> str:
    """The path up to its last name: "/" for "/a", and for the root itself."""
    return path.rpartition("/")[0] or "/"


def name_of(path: str) -> str:
    """The last name of a path: "b" for "/a/b", empty for the root."""
    return path.rpartition("/")[2]


def namespace_of(path: str | None) -> str | None:
    """The first name of a path, under which metrics are kept: "a" for "/a/b"; None for the root and what is no path."""
    if path is None:
        return None
    parts = path.rstrip("/").split("/", 2)
    return parts[1] if len(parts) > 1 else None
