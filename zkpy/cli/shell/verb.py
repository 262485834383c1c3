"""What a verb of the shell is, and where they are kept: VERBS, by name.

A verb is a function of a Desk (the session, and where to print) and of what was given. It says what is wrong by raising
VerbError, BadPath or a KeeperError; the shell prints those and sets the exit status.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zkpy.cli.shell.options import Grammar, Parsed, VerbError
from zkpy.cli.shell.session import Session

_INT_MAX: Final = 2**31 - 1


@dataclass
class Desk:
    """What a verb works with: `say` prints a line on stdout, `complain` one on stderr, `write` text without an end."""

    session: Session
    say: Callable[[str], None]
    complain: Callable[[str], None]
    write: Callable[[str], None]


@dataclass(frozen=True)
class Verb:
    """`usage` is what the list of verbs shows; `help` what a wrong call does, if that is more."""

    name: str
    usage: str
    grammar: Grammar
    words: range
    help: str
    run: Callable[[Desk, Parsed], None]

    def parse(self, words: list[str]) -> Parsed:
        """Raises VerbError, with the usage if words are missing."""
        given = self.grammar.parse(words)
        if len(given.words) not in self.words:
            raise self.misused()
        return given

    def misused(self) -> VerbError:
        """How it is used."""
        return VerbError(f"{self.name} {self.usage}" + (f"\n{self.help}" if self.help else ""))


VERBS: Final[dict[str, Verb]] = {}

_ANY: Final = 1 << 30


def verb(
    name: str, usage: str, grammar: Grammar | None = None, *, least: int = 2, most: int = _ANY, help: str = ""
) -> Callable[[Callable[[Desk, Parsed], None]], Callable[[Desk, Parsed], None]]:
    """Keep a function as a verb that takes `least` to `most` words, its own name among them."""

    def keep(run: Callable[[Desk, Parsed], None]) -> Callable[[Desk, Parsed], None]:
        VERBS[name] = Verb(name, usage, grammar or Grammar(), range(least, most + 1), help, run)
        return run

    return keep


def int_of(given: Parsed, option: str, default: int) -> int:
    """The value of an option that must be an int."""
    if not given.has(option):
        return default
    number = parse_long(given.options[option])
    if number is None or not -_INT_MAX - 1 <= number <= _INT_MAX:
        raise VerbError(f"-{option} argument must be an int value")
    return number


def parse_long(text: str, base: int = 10) -> int | None:
    """A number as Java's parsers take it: a sign and digits, 64 bits; None if it is none."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isalnum() or not digits.isascii():
        return None
    try:
        number = int(text, base)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None
