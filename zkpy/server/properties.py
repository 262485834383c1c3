"""The syntax of zoo.cfg: Java's `Properties` text format.

    key = value      key: value      key value        # comment      ! comment
    a backslash at the end continues the line; \\t \\n \\r \\f \\uXXXX and \\<any character> are escapes

Bytes are ISO-8859-1. Unlike Java's loader this one remembers on which line each key stands, for messages. Source:
java.util.Properties.load.
"""

import re
from typing import Final

import attrs

_SIMPLE: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_BLANKS: Final = " \t\f"
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


@attrs.frozen
class Entry:
    """One setting: what stands there, and on which line (from 1) it begins."""

    key: str
    value: str
    line: int


def parse(data: bytes) -> list[Entry]:
    """All entries in order, duplicates included (the last one counts). Raises ValueError for a bad \\u escape."""
    entries = []
    for line, text in _logical_lines(data.decode("iso-8859-1")):
        key, value = _split(text)
        entries.append(Entry(_unescape(key, line), _unescape(value, line), line))
    return entries


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with their continuations joined, without blank lines and comments."""
    lines: list[tuple[int, str]] = []
    start = 0
    joined = ""
    continues = False
    for number, raw in enumerate(_LINE_END.split(text), 1):
        stripped = raw.lstrip(_BLANKS)
        if not continues or not joined:
            if not stripped or stripped[0] in "#!":
                continue
            start, joined = number, ""
        joined += stripped
        backslashes = len(stripped) - len(stripped.rstrip("\\"))
        continues = backslashes % 2 == 1
        if continues:
            joined = joined[:-1]
        else:
            lines.append((start, joined))
    if continues and joined:
        lines.append((start, joined))
    return lines


def _split(text: str) -> tuple[str, str]:
    """The raw key and value of a logical line."""
    at = 0
    while at < len(text) and text[at] not in "=:" + _BLANKS:
        at += 2 if text[at] == "\\" else 1
    key, rest = text[:at], text[at:].lstrip(_BLANKS)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_BLANKS)
    return key, rest


def _unescape(text: str, line: int) -> str:
    if "\\" not in text:
        return text
    out = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character != "\\" or at >= len(text):
            out.append(character)
            continue
        character = text[at]
        at += 1
        if character == "u":
            digits = text[at : at + 4]
            if not re.fullmatch("[0-9a-fA-F]{4}", digits):
                raise ValueError(f"line {line}: malformed \\uXXXX escape")
            out.append(chr(int(digits, 16)))
            at += 4
        else:
            out.append(_SIMPLE.get(character, character))
    return "".join(out)
