"""The part of YAML that a configuration needs: nested mappings with text at their leaves.

    app:
      name: shop        # plain,
      greeting: "hi\\n"  # quoted either way,
      motd: |           # and block scalars
        first
        second

Its law: `parse(emit(document)) == document`, and what is read here means the same to any other YAML parser, except that
every scalar is text (`5` is "5"). What is outside of the subset is refused with its line, never guessed at.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn, TypeAlias

Document: TypeAlias = "dict[str, str | Document]"

#: What every parser takes for text without quotes, unless it is one of WORDS.
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*", re.ASCII)
#: What other parsers take for something else than text.
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_BLOCK: Final = re.compile(r"\|([+-]?)(?: +#.*| *)")
_KEY_END: Final = re.compile(r":(?= |$)")
_ESCAPES: Final = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b", " ": " ",
    '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX_DIGITS: Final = {"x": 2, "u": 4, "U": 8}
_INDICATORS: Final = {
    "[": "lists are not taken: znodes have names",
    "{": "mappings are written with a line for each key ({} alone is an empty one)",
    "&": "anchors are not taken",
    "*": "aliases are not taken",
    "!": "tags are not taken",
    ">": "folded text is not taken: write | or quotes",
    "|": "a block starts with |, |- or |+ and nothing else",
    "%": "directives are not taken",
    "@": "@ needs quotes around the text",
    "`": "` needs quotes around the text",
    ",": ", needs quotes around the text",
    "]": "] needs quotes around the text",
    "}": "} needs quotes around the text",
    "#": "# needs quotes around the text",
}


class YamlError(ValueError):
    """Not in the subset, or no YAML at all: says the line and what to do."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


def emit(document: Document) -> str:
    """The document as YAML, keys in the order they have."""
    if not document:
        return "{}\n"
    lines: list[str] = []
    _emit(document, "", lines)
    return "".join(f"{line}\n" for line in lines)


def _emit(document: Document, indent: str, lines: list[str]) -> None:
    for key, value in document.items():
        head = f"{indent}{_scalar(key)}:"
        if isinstance(value, str):
            if _suits_a_block(value):
                chomp = "+" if value.endswith("\n\n") else "" if value.endswith("\n") else "-"
                lines.append(f"{head} |{chomp}")
                lines += [f"{indent}  {line}" if line else "" for line in value.removesuffix("\n").split("\n")]
            else:
                lines.append(f"{head} {_scalar(value)}")
        elif value:
            lines.append(head)
            _emit(value, f"{indent}  ", lines)
        else:
            lines.append(f"{head} {{}}")


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    if char == "\n":
        return "\\n"
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _suits_a_block(text: str) -> bool:
    """Several lines, of what is seen, and the first of them tells the indentation."""
    lines = text.split("\n")
    return len(lines) > 1 and lines[0][:1].strip() != "" and all(line.isprintable() for line in lines)


def parse(text: str) -> Document:
    """Raises YamlError."""
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self._lines = text.removesuffix("\n").split("\n")
        self._at = 0

    def document(self) -> Document:
        first = self._peek()
        if first is not None and re.fullmatch(r"--- *(?: #.*)?", self._lines[self._at]):
            self._at += 1
            first = self._peek()
        if first is None:
            self._refuse("there is nothing: an empty document is {}", 0)
        if re.fullmatch(r"\{\}(?: +#.*| *)", first[1]):
            self._at += 1
            document: Document = {}
        else:
            document = self._mapping(first[0])
        if self._peek() is not None:
            self._refuse("this is indented less than the first line")
        return document

    def _refuse(self, reason: str, at: int | None = None) -> NoReturn:
        raise YamlError((self._at if at is None else at) + 1, reason)

    def _peek(self) -> tuple[int, str] | None:
        """Indentation and content of the next line that has any, which _at is moved to."""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            content = line.lstrip(" ")
            if content.startswith("\t"):
                self._refuse("a tab cannot indent: use spaces")
            if content and not content.startswith("#"):
                return len(line) - len(content), content
            self._at += 1
        return None

    def _mapping(self, indent: int) -> Document:
        found: Document = {}
        while (line := self._peek()) is not None and line[0] >= indent:
            if line[0] > indent:
                self._refuse("this is indented deeper than what it stands under (text of several lines needs |)")
            key, rest = self._key(line[1])
            if key in found:
                self._refuse(f"{key!r} is there twice")
            found[key] = self._value(key, rest, indent)
        return found

    def _value(self, key: str, rest: str, indent: int) -> str | Document:
        """What stands after the colon or below it; leaves _at behind it."""
        if rest and not rest.startswith("#"):
            if block := _BLOCK.fullmatch(rest):
                self._at += 1
                return self._block(block[1], indent)
            value: str | Document = {}
            if not re.fullmatch(r"\{\}(?: +#.*| *)", rest):
                value = self._inline(rest)
            self._at += 1
            return value
        at = self._at
        self._at += 1
        below = self._peek()
        if below is None or below[0] <= indent:
            self._refuse(f'{key!r} has no value: write "" for an empty one, {{}} for no children', at)
        return self._mapping(below[0])

    def _key(self, content: str) -> tuple[str, str]:
        """The key, and what follows its colon."""
        if content == "-" or content.startswith("- "):
            self._refuse("lists are not taken: znodes have names")
        if content in ("---", "...") or content.startswith(("--- ", "... ")):
            self._refuse("one document only")
        if content[0] in "\"'":
            key, end = self._quoted(content)
            if not (colon := re.compile(r" *:(?= |$)").match(content, end)):
                self._refuse("a colon and a space belong after the key")
            return key, content[colon.end() :].strip(" ")
        if not (colon := _KEY_END.search(content)):
            self._refuse("this is no `key: value` and no `key:`")
        return self._plain(content[: colon.start()].rstrip(" ")), content[colon.end() :].strip(" ")

    def _inline(self, rest: str) -> str:
        if rest[0] not in "\"'":
            return self._plain(re.split(r"\s#", rest, maxsplit=1)[0].rstrip())
        text, end = self._quoted(rest)
        if not re.fullmatch(r" *| +#.*", rest[end:]):
            self._refuse("something follows the closing quote")
        return text

    def _plain(self, text: str) -> str:
        if not text:
            self._refuse("the key is empty: an empty text is written in quotes")
        if text[0] in _INDICATORS:
            self._refuse(_INDICATORS[text[0]])
        if text in ("-", "?", ":") or text.startswith(("- ", "? ", ": ")):
            self._refuse(f"{text[0]} needs quotes around the text")
        if _KEY_END.search(text) or re.search(r"\s#", text):
            self._refuse("text with ': ' or ' #' in it needs quotes")
        if text == "~" or text.lower() == "null":
            self._refuse(f'a znode\'s value is never null: write "" if it is empty, "{text}" if it is this text')
        if not text.replace("\t", "").replace("\xa0", "").isprintable():
            self._refuse("a control character has to be written as an escape in double quotes")
        return text

    def _quoted(self, content: str) -> tuple[str, int]:
        """The text in quotes at the start, and where it ends."""
        if content[0] == "'":
            if not (match := re.compile(r"'((?:[^']|'')*)'").match(content)):
                self._refuse("the closing ' is missing on this line")
            return match[1].replace("''", "'"), match.end()
        found = []
        at = 1
        while at < len(content) and content[at] != '"':
            if content[at] != "\\":
                found.append(content[at])
                at += 1
                continue
            letter = content[at + 1 : at + 2]
            digits = content[at + 2 : at + 2 + _HEX_DIGITS.get(letter, 0)]
            at += 2 + len(digits)
            if letter in _HEX_DIGITS:
                if not re.fullmatch(rf"[0-9A-Fa-f]{{{_HEX_DIGITS[letter]}}}", digits) or int(digits, 16) > 0x10FFFF:
                    self._refuse(f"\\{letter}{digits} is no character")
                if 0xD800 <= int(digits, 16) < 0xE000:
                    self._refuse(f"\\{letter}{digits} is half a character: write \\U and eight digits")
                found.append(chr(int(digits, 16)))
            elif letter in _ESCAPES:
                found.append(_ESCAPES[letter])
            else:
                self._refuse(f"there is no escape \\{letter}")
        if at >= len(content):
            self._refuse('the closing " is missing on this line')
        return "".join(found), at + 1

    def _block(self, chomp: str, parent: int) -> str:
        start = self._at
        indent = 0
        found: list[str] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            content = line.lstrip(" ")
            if not indent and content:
                indent = len(line) - len(content)
                if indent <= parent:
                    break
                if any(len(blank) > indent for blank in self._lines[start : self._at]):
                    self._refuse("an empty line above has more spaces than the block's first line", start)
            if content and len(line) - len(content) < indent:
                break
            found.append(line[indent:] if indent else "")
            self._at += 1
        trailing = 0
        while found and not found[-1]:
            found.pop()
            trailing += 1
        if not found:
            return "\n" * trailing if chomp == "+" else ""
        return "\n".join(found) + {"": "\n", "-": "", "+": "\n" * (1 + trailing)}[chomp]
