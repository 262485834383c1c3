"""Verbs on znodes: create, delete, deleteall, get, set, ls, stat, sync, getAllChildrenNumber, getEphemerals."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Final

from zkpy.cli.shell.options import Grammar, Parsed, VerbError
from zkpy.cli.shell.paths import validate
from zkpy.cli.shell.printing import code_text, hex_dump, parse_acl, print_stat, text_of
from zkpy.cli.shell.session import OPEN_ACL, Session
from zkpy.cli.shell.verb import Desk, int_of, parse_long, verb
from zkpy.proto import errors, opcodes

#: The longest time to live that fits where a znode's owner stands (`EphemeralType.TTL`).
MAX_TTL_MS: Final = 1099511627775

_KINDS: Final = {
    "": opcodes.PERSISTENT,
    "s": opcodes.PERSISTENT_SEQUENTIAL,
    "e": opcodes.EPHEMERAL,
    "es": opcodes.EPHEMERAL_SEQUENTIAL,
    "c": opcodes.CONTAINER,
    "t": opcodes.PERSISTENT_TTL,
    "st": opcodes.PERSISTENT_SEQUENTIAL_TTL,
}


@verb("create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]", Grammar("s e c", "t"))
def create(desk: Desk, given: Parsed) -> None:
    """What was made goes to stderr, as zkCli has it."""
    if given.has("c") and (given.has("e") or given.has("s")):
        raise VerbError("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.")
    ttl_ms = parse_long(given.options.get("t", "0"))
    if ttl_ms is None:
        raise VerbError("-t argument must be a long value")
    if given.has("t"):
        for option, kind in (("e", "Ephemeral"), ("c", "Container")):
            if given.has(option):
                raise VerbError(f"TTLs cannot be used with {kind} znodes")
        if not 0 < ttl_ms <= MAX_TTL_MS:
            raise VerbError(f"ttl must be positive and cannot be larger than: {MAX_TTL_MS}")
    flags = _KINDS["".join(option for option in "cest" if given.has(option))]
    _, path, *rest = given.words
    data = rest[0].encode() if rest else None
    acl = parse_acl(rest[1], desk.complain) if len(rest) > 1 else OPEN_ACL
    try:
        made = desk.session.create(path, data, acl, flags, ttl_ms)
    except errors.EphemeralOnLocalSessionError:
        desk.complain("Unable to create ephemeral node on a local session")
        raise
    except errors.InvalidACLError as error:
        desk.complain(code_text(error))
        raise
    desk.complain(f"Created {made}")


@verb("delete", "[-v version] path", Grammar("", "v"))
def delete(desk: Desk, given: Parsed) -> None:
    """A version behind the path is an old form that has no effect any more."""
    if len(given.words) > 2:
        desk.complain("'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.")
    desk.session.delete(given.words[1], int_of(given, "v", -1))


@verb("deleteall", "path [-b batch size]", Grammar("", "b"))
def delete_all(desk: Desk, given: Parsed) -> None:
    """A znode and all below it, leaves first; batches are transactions, one by one with a batch size of 0."""
    batch = int_of(given, "b", 1000)
    path = given.words[1]
    validate(path)
    paths = list(_breadth_first(desk.session, path))
    paths.reverse()
    if batch <= 0:
        for one in paths:
            desk.session.delete(one)
    elif not desk.session.delete_all(paths, batch):
        desk.complain("Failed to delete some node(s) in the subtree!")


def _breadth_first(session: Session, root: str) -> Iterator[str]:
    level = [root]
    while level:
        yield from level
        level = [join(path, name) for path in level for name in session.children(path)]


@verb(
    "get", "[-s] [-w] [-b] [-x] path", Grammar("s w b x"),
    help=(
        " -b   Output data in base64 format\n -s   Print znode stats additionally\n"
        " -w   Watch for changes on the znode\n -x   Output data in hexdump format\n"
    ),
)  # fmt: skip
def get(desk: Desk, given: Parsed) -> None:
    """Data as text, in base64 or as a hex dump."""
    watch = _watch(desk, given, "get path [watch]", "get [-s] [-w] path")
    data, stat = desk.session.get(given.words[1], watch=watch)
    known = b"null" if data is None else data
    if given.has("x"):
        desk.say(hex_dump(known))
    elif given.has("b"):
        desk.say(base64.b64encode(known).decode())
    else:
        desk.say(text_of(known))
    if given.has("s"):
        print_stat(stat, desk.say)


@verb(
    "set", "path data [-s] [-v version] [-b]", Grammar("s b", "v"), least=3,
    help=(
        " -b         Supply data in base64 format\n -s         Print znode stats additionally\n"
        " -v <arg>   Set with an expected version\n"
    ),
)  # fmt: skip
def set_data(desk: Desk, given: Parsed) -> None:
    """Replace a znode's data."""
    _, path, text, *_ = given.words
    try:
        data = base64.b64decode(text, validate=True) if given.has("b") else text.encode()
    except (binascii.Error, ValueError):
        raise VerbError(f"{text} is not base64") from None
    stat = desk.session.set(path, data, int_of(given, "v", -1))
    if given.has("s"):
        print_stat(stat, desk.say)


@verb("ls", "[-s] [-w] [-R] path", Grammar("? s w R"), least=1)
def ls(desk: Desk, given: Parsed) -> None:
    """The children, or the whole tree below."""
    if given.has("?"):
        desk.say("usage: ls [options] path\n -?   help\n -R   recurse\n -s   stat\n -w   watch")
    if len(given.words) < 2:
        raise VerbError("ls [-s] [-w] [-R] path")
    watch = _watch(desk, given, "ls path [watch]", "ls [-w] path")
    path = given.words[1]
    if given.has("R"):
        walk(desk.session, path, desk.say, watch=watch)
        return
    if given.has("s"):
        names, stat = desk.session.children_and_stat(path, watch=watch)
        desk.say(f"[{', '.join(names)}]")
        print_stat(stat, desk.say)
    else:
        desk.say(f"[{', '.join(desk.session.children(path, watch=watch))}]")


def walk(session: Session, root: str, visit: Callable[[str], None], *, watch: bool = False) -> None:
    """Call `visit` with a path and all below it: the children of a znode together, before what is below them."""
    session.get(root, watch=watch)
    visit(root)
    todo = [root]
    while todo:
        path = todo.pop()
        try:
            below = [join(path, name) for name in session.children(path, watch=watch)]
        except errors.NoNodeError:
            continue  # it has gone since it was listed
        for one in below:
            visit(one)
        todo += reversed(below)


@verb("stat", "[-w] path", Grammar("w"))
def stat(desk: Desk, given: Parsed) -> None:
    """A znode's stat."""
    watch = _watch(desk, given, "stat path [watch]", "stat [-w] path")
    found = desk.session.exists(given.words[1], watch=watch)
    if found is None:
        raise errors.NoNodeError(given.words[1])
    print_stat(found, desk.say)


def _watch(desk: Desk, given: Parsed, old: str, new: str) -> bool:
    """Is a watch wanted? The old form, any third word, still works."""
    if len(given.words) > 2:
        desk.complain(f"'{old}' has been deprecated. Please use '{new}' instead.")
        return True
    return given.has("w")


@verb("getAllChildrenNumber", "path")
def get_all_children_number(desk: Desk, given: Parsed) -> None:
    """How many znodes there are below."""
    desk.say(str(desk.session.count_below(given.words[1])))


@verb("getEphemerals", "path", least=1)
def get_ephemerals(desk: Desk, given: Parsed) -> None:
    """The session's own, below a path or all."""
    prefix = given.words[1] if len(given.words) > 1 else None
    desk.say(f"[{', '.join(desk.session.ephemerals(prefix))}]")


@verb("sync", "path")
def sync(desk: Desk, given: Parsed) -> None:
    """Let the server catch up with its leader."""
    code = desk.session.sync(given.words[1])
    desk.say("Sync is OK" if code == errors.OK else f"Sync has failed. rc={code}")


def join(path: str, name: str) -> str:
    """The path of a child."""
    return f"/{name}" if path == "/" else f"{path}/{name}"
