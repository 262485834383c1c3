"""Lines from a terminal, with editing, completion and a history that outlives the shell (Python's readline).

Completed are verbs, the options of a verb, and the paths of znodes, as far as the session can be asked. Kept are the
last lines of all shells, in a file only its owner may read, but none with credentials.
"""

from __future__ import annotations

import os
import readline
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from zkpy.cli.shell.connection import CONNECTED, CONNECTED_READ_ONLY
from zkpy.cli.shell.console import OWN_USAGES, Console
from zkpy.cli.shell.paths import BadPath
from zkpy.cli.shell.verb import VERBS
from zkpy.cli.shell.znodes import join
from zkpy.proto.errors import KeeperError

#: How many lines are kept.
KEPT_LINES: Final = 1000


def history_path() -> Path:
    """Where lines are kept."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "zkpy" / "shell_history"


def candidates(console: Console, before: str, word: str) -> list[str]:
    """What `word`, behind `before` in its line, may become."""
    words = before.split()
    if not words:
        return [f"{name} " for name in sorted([*VERBS, *OWN_USAGES]) if name.startswith(word)]
    if word.startswith("-"):
        names = VERBS[words[0]].grammar.names if words[0] in VERBS else ()
        return [f"-{name} " for name in sorted(names) if name.startswith(word[1:])]
    if not word.startswith("/"):
        return []
    session = console.session
    if session is None or session.state not in (CONNECTED, CONNECTED_READ_ONLY):
        return []
    parent, _, start = word.rpartition("/")
    try:
        return [join(parent or "/", name) for name in session.children(parent or "/") if name.startswith(start)]
    except (KeeperError, BadPath):
        return []


@contextmanager
def editing(console: Console, path: Path) -> Iterator[None]:
    """While this lasts, `input` edits, completes and remembers."""
    found: list[str] = []

    def complete(word: str, at: int) -> str | None:
        nonlocal found
        if at == 0:
            found = candidates(console, readline.get_line_buffer()[: readline.get_begidx()], word)
        return found[at] if at < len(found) else None

    readline.set_completer_delims(" \t\n")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    readline.set_auto_history(False)
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(KEPT_LINES)
    try:
        yield
    finally:
        readline.set_completer(None)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(path)


def read_lines(console: Console) -> Iterator[str]:
    """Lines until the terminal's end (Ctrl-D); Ctrl-C gives up the line."""
    with editing(console, history_path()):
        while True:
            try:
                console.draw_prompt = lambda: console.prompt + readline.get_line_buffer()
                line = input(console.prompt)
            except KeyboardInterrupt:
                console.say("")
                continue
            except EOFError:
                console.say("")
                return
            finally:
                console.draw_prompt = None
            if line.strip() and not line.strip().startswith("addauth"):
                readline.add_history(line)
            yield line
