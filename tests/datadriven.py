"""Transcripts: tests that read as a dialogue. `run` plays one; `pytest --rewrite` writes all answers anew.

    # Prose, as much as helps.
    command word key=value
    ----
    the answer,
    up to the first empty line

A file is a list of such blocks, with empty lines between them. The handler gets a Command and returns the answer. What
a rewrite changed is reviewed in the diff, so a transcript is as much a description as a test.
"""

from collections.abc import Callable
from pathlib import Path

SEPARATOR = "----"


class Command:
    """One line of a transcript: `create /a data=1` is the name, the words, and the values by key."""

    def __init__(self, line: str, number: int) -> None:
        self.line = line
        self.number = number
        self.name, *rest = line.split()
        self.words = [word for word in rest if "=" not in word]
        self.values = dict(word.split("=", 1) for word in rest if "=" in word)

    def value(self, key: str, default: int) -> int:
        """A value as a number."""
        return int(self.values.get(key, default), 0) if key in self.values else default


def run(path: Path, handler: Callable[[Command], str], *, rewrite: bool) -> None:
    """Play the transcript; the first answer that is another one fails, unless all are to be written anew."""
    lines = path.read_text(encoding="utf-8").splitlines()
    written: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        written.append(line)
        if not line.strip() or line.startswith("#"):
            continue
        command = Command(line, at)
        assert at < len(lines), f"{path.name}:{command.number}: {line!r} has no {SEPARATOR} behind it"
        assert lines[at] == SEPARATOR, f"{path.name}:{command.number}: {line!r} has no {SEPARATOR} behind it"
        at += 1
        expected: list[str] = []
        while at < len(lines) and lines[at].strip():
            expected.append(lines[at])
            at += 1
        answer = handler(command).splitlines()
        assert all(one.strip() for one in answer), f"{path.name}:{command.number}: an answer with an empty line"
        if not rewrite:
            assert answer == expected, f"{path.name}:{command.number}: {line}"
        written += [SEPARATOR, *answer]
    if rewrite:
        path.write_text("\n".join(written) + "\n", encoding="utf-8")
