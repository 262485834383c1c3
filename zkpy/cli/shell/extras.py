"""Verbs that zkCli does not have: tree, find, export."""

from __future__ import annotations

import base64
import fnmatch
import json
from typing import Any

from zkpy.cli.shell.options import Grammar, Parsed, VerbError
from zkpy.cli.shell.printing import acl_text
from zkpy.cli.shell.session import Session
from zkpy.cli.shell.verb import Desk, int_of, verb
from zkpy.cli.shell.znodes import join, walk
from zkpy.proto import errors


@verb("tree", "[-s] [-d depth] path", Grammar("s", "d"), most=2)
def tree(desk: Desk, given: Parsed) -> None:
    """The znodes below a path as a drawing, at most `depth` levels; -s: with data length and version of each."""
    path = given.words[1]
    depth = int_of(given, "d", -1)
    desk.say(path + _size(desk.session, path, given))
    # What is still to be drawn, the next one last: path, name, what stands before it, is it the last, levels left.
    todo = _branches(desk.session, path, "", depth)
    while todo:
        one, name, before, is_last, left = todo.pop()
        desk.say(f"{before}{'└── ' if is_last else '├── '}{name}{_size(desk.session, one, given)}")
        todo += _branches(desk.session, one, before + ("    " if is_last else "│   "), left)


_Branch = tuple[str, str, str, bool, int]


def _branches(session: Session, path: str, before: str, left: int) -> list[_Branch]:
    if left == 0:
        return []
    try:
        names = session.children(path)
    except errors.NoNodeError:
        if not before:
            raise
        return []  # it has gone since it was listed
    return [(join(path, name), name, before, name == names[-1], left - 1) for name in reversed(names)]


def _size(session: Session, path: str, given: Parsed) -> str:
    if not given.has("s"):
        return ""
    stat = session.exists(path)
    if stat is None:
        return " (gone)"
    owner = ", ephemeral" if stat.ephemeral_owner > 0 else ""
    return f" ({stat.data_length} bytes, version {stat.version}{owner})"


@verb("find", "[-name pattern] [-data text] [-e] path", Grammar("e", "name data"), most=2)
def find(desk: Desk, given: Parsed) -> None:
    """Paths, a line each, of the znodes at and below a path that have such a name (as a shell matches names), whose
    data holds the text, that are ephemeral (-e)."""
    pattern = given.options.get("name")
    part = given.options["data"].encode() if given.has("data") else None

    def visit(path: str) -> None:
        if pattern is not None and not fnmatch.fnmatchcase(path.rpartition("/")[2], pattern):
            return
        if part is not None or given.has("e"):
            try:
                data, stat = desk.session.get(path)
            except (errors.NoNodeError, errors.NoAuthError):
                return  # gone, or not to be read: nothing can be said of it
            # A container's and a TTL's owner is no session: their first bit is set.
            if (part is not None and part not in (data or b"")) or (given.has("e") and stat.ephemeral_owner <= 0):
                return
        desk.say(path)

    walk(desk.session, given.words[1], visit)


@verb("export", "[-o file] path", Grammar("", "o"), most=2)
def export(desk: Desk, given: Parsed) -> None:
    """A path and all below it as JSON, a znode each with data (text, or base64 for what is no text), ACL and stat."""
    znodes: list[dict[str, Any]] = []

    def visit(path: str) -> None:
        try:
            znodes.append(_described(desk.session, path))
        except errors.NoNodeError:
            pass  # it has gone since it was listed

    walk(desk.session, given.words[1], visit)
    text = json.dumps({"znodes": znodes}, ensure_ascii=False, indent=1)
    if not given.has("o"):
        desk.say(text)
        return
    name = given.options["o"]
    try:
        with open(name, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise VerbError(f"Cannot write {name}: {error.strerror}") from None
    desk.complain(f"Exported {len(znodes)} znodes to {name}")


def _described(session: Session, path: str) -> dict[str, Any]:
    data, stat = session.get(path)
    described: dict[str, Any] = {"path": path}
    try:
        described["data"] = None if data is None else data.decode()
    except UnicodeDecodeError:
        assert data is not None
        described["base64"] = base64.b64encode(data).decode()
    try:
        described["acl"] = [acl_text(entry) for entry in session.get_acl(path)[0]]
    except errors.NoAuthError:
        pass  # whoever may read may not always see who else may
    described |= {"version": stat.version, "czxid": stat.czxid, "mzxid": stat.mzxid, "ctime_ms": stat.ctime}
    described |= {"mtime_ms": stat.mtime, "ephemeral_owner": stat.ephemeral_owner}
    return described
