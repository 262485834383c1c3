"""A verb's options as zkCli takes them, and its words for what is wrong with them.

zkCli parses with Apache Commons CLI, whose ways (a value behind its option or glued to it, options anywhere, several in
one word) and whose names of exceptions are part of what it prints. Source: `DefaultParser` of Commons CLI 1.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_PACKAGE: Final = "org.apache.commons.cli."


class VerbError(Exception):
    """The verb ends with this text on stderr, and with this exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class Grammar:
    """A verb's options: their names, which of them want a value, which exclude one another."""

    def __init__(self, flags: str = "", values: str = "", *, exclusive: str = "", needed: str = "") -> None:
        """Names apart by blanks. `exclusive`: at most one of these. `needed`: how to ask for one of them."""
        self.values = frozenset(values.split())
        self.names = self.values | set(flags.split())
        self.exclusive = frozenset(exclusive.split())
        self.needed = needed

    def parse(self, words: Sequence[str]) -> Parsed:
        """Options and other words, the verb first. Raises VerbError."""
        return _Parser(self).parse(words)


class Parsed:
    """What was given."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.options: dict[str, str] = {}

    def has(self, name: str) -> bool:
        """Was this option given?"""
        return name in self.options


class _Parser:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.parsed = Parsed()
        self.open: str | None = None  # the option whose value comes next

    def parse(self, words: Sequence[str]) -> Parsed:
        for at, word in enumerate(words):
            if word == "--":
                self.parsed.words += words[at + 1 :]
                break
            if self.open is not None and self._is_argument(word):
                self._close(word)
            elif word.startswith("--"):
                raise _unknown(word)
            elif word.startswith("-") and word != "-":
                self._take(word)
            else:
                self.parsed.words.append(word)
        self._check_open()
        if self.grammar.needed and not self.grammar.exclusive & set(self.parsed.options):
            raise VerbError(f"{_PACKAGE}MissingOptionException: Missing required option: {self.grammar.needed}")
        return self.parsed

    def _is_argument(self, word: str) -> bool:
        return not self._is_option(word) or _is_negative_number(word)

    def _is_option(self, word: str) -> bool:
        name = word[1:].partition("=")[0]
        return len(word) > 1 and word[0] == "-" and (name in self.grammar.names or name[:1] in self.grammar.names)

    def _take(self, word: str) -> None:
        text = word.lstrip("-")
        name, equals, value = text.partition("=")
        if name in self.grammar.names and not equals:
            self._begin(name)
        elif equals:
            if name not in self.grammar.values:
                raise _unknown(word)
            self._begin(name)
            self._close(value)
        elif len(text) == 1:
            raise _unknown(word)
        else:
            self._take_glued(word)

    def _take_glued(self, word: str) -> None:
        for at in range(1, len(word)):
            if word[at] not in self.grammar.names:
                raise _unknown(word)
            self._begin(word[at])
            if self.open is not None and at + 1 < len(word):
                self._close(word[at + 1 :])
                return

    def _begin(self, name: str) -> None:
        self._check_open()
        for other in self.grammar.exclusive & set(self.parsed.options):
            if name in self.grammar.exclusive and name != other:
                raise VerbError(
                    f"{_PACKAGE}AlreadySelectedException: The option '{name}' was specified but an option from this"
                    f" group has already been selected: '{other}'"
                )
        self.parsed.options.setdefault(name, "")
        self.open = name if name in self.grammar.values else None

    def _close(self, value: str) -> None:
        assert self.open is not None
        # Of an option given twice the first value counts.
        if not self.parsed.options[self.open]:
            self.parsed.options[self.open] = value
        self.open = None

    def _check_open(self) -> None:
        if self.open is not None:
            raise VerbError(f"{_PACKAGE}MissingArgumentException: Missing argument for option: {self.open}")


def _unknown(word: str) -> VerbError:
    return VerbError(f"{_PACKAGE}UnrecognizedOptionException: Unrecognized option: {word}")


def _is_negative_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
