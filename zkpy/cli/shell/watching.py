"""Verbs on watches that stay: addWatch, removewatches. (One-shot ones are left by get, ls, stat and config with -w.)"""

from __future__ import annotations

from typing import Final

from zkpy.cli.shell.options import Grammar, Parsed
from zkpy.cli.shell.verb import VERBS, Desk, verb
from zkpy.proto import opcodes

_MODES: Final = {
    "PERSISTENT": opcodes.ADD_WATCH_PERSISTENT,
    "PERSISTENT_RECURSIVE": opcodes.ADD_WATCH_PERSISTENT_RECURSIVE,
}
#: The option of each kind of watch; the first that is given counts.
_KINDS: Final = {
    "c": opcodes.WATCHER_CHILDREN,
    "d": opcodes.WATCHER_DATA,
    "p": opcodes.WATCHER_PERSISTENT,
    "r": opcodes.WATCHER_PERSISTENT_RECURSIVE,
    "a": opcodes.WATCHER_ANY,
}


@verb(
    "addWatch",
    "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE",
    Grammar("", "m"),
    most=2,
)
def add_watch(desk: Desk, given: Parsed) -> None:
    """A watch that fires until it is removed."""
    mode = _MODES.get(given.options.get("m", "PERSISTENT_RECURSIVE").upper())
    if mode is None:
        raise VERBS["addWatch"].misused()
    desk.session.add_watch(given.words[1], mode)


@verb("removewatches", "path [-c|-d|-a] [-l]", Grammar("c d p r a l"))
def remove_watches(desk: Desk, given: Parsed) -> None:
    """Of one kind or all; -l: here even if the server cannot be told."""
    kind = next((code for option, code in _KINDS.items() if given.has(option)), opcodes.WATCHER_ANY)
    desk.session.remove_watches(given.words[1], kind, is_local=given.has("l"))
