"""What Apache's client says about a path that cannot be, before it asks a server (`PathUtils.validatePath`)."""

from __future__ import annotations


class BadPath(ValueError):
    """The text says what is wrong with it."""


def validate(path: str, *, is_sequential: bool = False) -> None:
    """Raises BadPath unless a znode may have this path; a sequential one gets its number first."""
    if is_sequential:
        path += "1"
    if not path:
        raise BadPath("Path length must be > 0")
    if path[0] != "/":
        raise BadPath("Path must start with / character")
    if path == "/":
        return
    if path[-1] == "/":
        raise BadPath("Path must not end with / character")
    reason = _reason(path)
    if reason:
        raise BadPath(f'Invalid path string "{path}" caused by {reason}')


def _reason(path: str) -> str:
    # Java counts, and judges, the 16-bit units of UTF-16.
    units = path.encode("utf-16-be", "surrogatepass")
    text = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    slash, dot = ord("/"), ord(".")
    for at in range(1, len(text)):
        unit, last = text[at], text[at - 1]
        ends = at + 1 == len(text) or text[at + 1] == slash
        if unit == 0:
            return f"null character not allowed @{at}"
        if unit == slash and last == slash:
            return f"empty node name specified @{at}"
        if unit == dot and last == dot and text[at - 2] == slash and ends:
            return f"relative paths not allowed @{at}"
        if unit == dot and last == slash and ends:
            return f"relative paths not allowed @{at}"
        if unit < 0x20 or 0x7F <= unit <= 0x9F or 0xD800 <= unit <= 0xF8FF or unit >= 0xFFF0:
            return f"invalid character @{at}"
    return ""
