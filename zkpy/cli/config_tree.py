"""A subtree of znodes as a configuration: read at one moment, as a document, compared, and changed in one transaction.

A document is a mapping from a child's name to its text, or to a mapping of its own children. `.`, which no znode can be
called, is the value of the znode itself; a value that is not UTF-8 is `{".": {"base64": ...}}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from zkpy.cli import yaml
from zkpy.cli.connecting import CommandError
from zkpy.cli.shell.paths import BadPath, validate

EXIT_NO_NODE: Final = 3
EXIT_CHANGED: Final = 4
EXIT_BAD_DOCUMENT: Final = 65

OWN: Final = "."
BASE64: Final = "base64"
#: How often a subtree that keeps changing is read again before this is given up.
READS: Final = 20
#: Of a request's 1 MiB (jute.maxbuffer), with room for what stands around the operations.
TRANSACTION_BYTES: Final = 1_000_000
_OPERATION_BYTES: Final = 100


Watcher: TypeAlias = Callable[[Any], None]


class NoNode(CommandError):
    """The path names nothing."""

    exit_code = EXIT_NO_NODE


class Changed(CommandError):
    """It is not, or no longer, what the caller takes it for."""

    exit_code = EXIT_CHANGED


class BadDocument(CommandError):
    """A file that is no configuration."""

    exit_code = EXIT_BAD_DOCUMENT


class Value(NamedTuple):
    """The data of a znode, and which version of it."""

    data: bytes
    version: int
    mzxid: int


class Change(NamedTuple):
    """What one znode has and what it is to have; None where there is none."""

    path: str
    old: Value | None
    new: bytes | None


def join(root: str, below: str) -> str:
    """The path of what is below a root; "" is the root itself."""
    return root if not below else f"{root.rstrip('/')}/{below}"


def read_subtree(client: Any, root: str, watcher: Watcher | None = None) -> dict[str, Value]:
    """All that lasts at and below a path, as of one moment, by path; nothing if it is not there.

    The watcher is called once any of it has changed since, or may have.

    Two equal readings, one after the other, show what was there between them. Ephemeral znodes are somebody's presence
    and no configuration; neither is what the server keeps below /zookeeper.

    The snapshots of `zkpy.recipes.Config` promise the same, for services. There a znode that must not be read counts as
    absent, which is no ground to compare or prune on: here it is an error. Nor do they know which are ephemeral, and
    they come with a thread and watches that a command which reads once has no use for.
    """
    client.sync(root)
    before: dict[str, Any] | None = None
    for _ in range(READS):
        now: dict[str, Any] = {}
        _walk(client, root, now, watcher)
        if not now and watcher is not None and client.exists(root, watcher):
            continue  # created since
        marks = {path: (stat.czxid, stat.mzxid, stat.pzxid) for path, (_, stat) in now.items()}
        if marks == before:
            lasting = sorted((path, found) for path, found in now.items() if not found[1].ephemeralOwner)
            return {path: Value(data or b"", stat.version, stat.mzxid) for path, (data, stat) in lasting}
        before = marks
    raise Changed(f"{root} changes faster than it can be read: nothing was done, try again")


def _walk(client: Any, path: str, found: dict[str, Any], watcher: Watcher | None) -> None:
    from kazoo.exceptions import NoNodeError

    try:
        found[path] = client.get(path, watcher)
        children = client.get_children(path, watcher)
    except NoNodeError:
        found.pop(path, None)
        return
    for child in children:
        if (path, child) != ("/", "zookeeper"):
            _walk(client, join(path, child), found, watcher)


def told(data: bytes) -> dict[str, str]:
    """A value as programs read it: `value`, or `base64` if it is not UTF-8."""
    try:
        return {"value": data.decode()}
    except UnicodeDecodeError:
        return {BASE64: base64.b64encode(data).decode()}


def shown(data: bytes) -> str:
    """A value as people read it, on one line."""
    try:
        return json.dumps(data.decode(), ensure_ascii=False)
    except UnicodeDecodeError:
        return f"({len(data)} bytes) base64 {base64.b64encode(data[:30]).decode()}{'...' if len(data) > 30 else ''}"


def to_document(values: Mapping[str, Value], root: str) -> yaml.Document:
    """The document of a subtree; its root is there."""
    document: yaml.Document = {}
    parents = {path.rpartition("/")[0] or "/" for path in values if path != "/"}
    for path, value in sorted(values.items()):
        names = path[len(root.rstrip("/")) :].split("/")[1:] if path != root else []
        leaf = told(value.data)
        own: str | yaml.Document = leaf["value"] if "value" in leaf else dict(leaf)
        here = document
        for name in names[:-1]:
            below = here[name]
            assert isinstance(below, dict)
            here = below
        if names and path not in parents and isinstance(own, str):
            here[names[-1]] = own
            continue
        inner: yaml.Document = {OWN: own} if own else {}
        if names:
            here[names[-1]] = inner
        else:
            document = inner
    return document


def from_document(document: object, root: str) -> dict[str, bytes | None]:
    """Path → data, None where a document says nothing of a znode's own value. Raises BadDocument."""
    found: dict[str, bytes | None] = {}

    def take(path: str, part: object) -> None:
        if isinstance(part, str):
            found[path] = _encoded(path, part)
            return
        if not isinstance(part, dict):
            raise BadDocument(f"{path} is {json.dumps(part)}: a value is text (in quotes) or a mapping")
        found[path] = _own(path, part[OWN]) if OWN in part else None
        for name, below in part.items():
            if name == OWN:
                continue
            child = join(path, name)
            _encoded(child, child)
            try:
                if not name or "/" in name:
                    raise BadDocument(f"{name!r} below {path} is no name of a znode: nest mappings, one for each level")
                validate(child)
            except BadPath as error:
                raise BadDocument(f"{name!r} below {path} is no name of a znode: {error}") from None
            take(child, below)

    if not isinstance(document, dict):
        raise BadDocument("a document is a mapping from names to values")
    take(root, document)
    return found


def _own(path: str, own: object) -> bytes:
    if isinstance(own, str):
        return _encoded(path, own)
    if isinstance(own, dict) and list(own) == [BASE64] and isinstance(own[BASE64], str):
        try:
            return base64.b64decode(own[BASE64], validate=True)
        except (binascii.Error, ValueError):
            raise BadDocument(f"what stands under {BASE64} at {path} is no base64") from None
    raise BadDocument(f'"{OWN}" at {path} is to be text, or a mapping with {BASE64} and text')


def _encoded(path: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadDocument(f"there is half a surrogate pair at {path!r}") from None


def parse(text: str) -> object:
    """A document out of JSON, which starts with {, or else YAML. Raises BadDocument, with the line."""
    try:
        return _parsed(text)
    except RecursionError:
        raise BadDocument("it is nested deeper than can be read") from None


def _parsed(text: str) -> object:
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        try:
            return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_doubles)
        except json.JSONDecodeError as error:
            raise BadDocument(f"line {error.lineno}: {error.msg} (read as JSON, as it starts with a brace)") from None
    try:
        return yaml.parse(text)
    except yaml.YamlError as error:
        raise BadDocument(str(error)) from None


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadDocument(f"{next(name for name in names if names.count(name) > 1)!r} is there twice in one mapping")
    return found


def differences(there: Mapping[str, Value], wanted: Mapping[str, bytes | None], *, exact: bool) -> list[Change]:
    """What would have to change, by path; what the document does not name only if it is to be `exact`."""
    found = []
    for path in sorted({*there, *wanted}):
        old = there.get(path)
        if path not in wanted:
            if exact:
                found.append(Change(path, old, None))
            continue
        new = wanted[path]
        if old is None:
            found.append(Change(path, None, new or b""))
        elif (new is not None or exact) and old.data != (new or b""):
            found.append(Change(path, old, new or b""))
    return found


def apply(client: Any, changes: list[Change]) -> int:
    """Make the changes; how many transactions that took. Raises Changed if it is not as it was when compared."""
    ordered = [change for change in changes if change.new is not None]
    ordered += [change for change in reversed(changes) if change.new is None]
    parts: list[list[Change]] = []
    room = 0
    for change in ordered:
        size = len(change.path.encode()) + len(change.new or b"") + _OPERATION_BYTES
        if size > room:
            parts.append([])
            room = TRANSACTION_BYTES
        parts[-1].append(change)
        room -= size
    for done, part in enumerate(parts):
        _commit(client, part, f"{done} of {len(parts)} transactions were made before" if done else "nothing was done")
    return len(parts)


def _commit(client: Any, changes: list[Change], so_far: str) -> None:
    from kazoo import exceptions as errors

    transaction = client.transaction()
    for path, old, new in changes:
        if old is None:
            transaction.create(path, new)
        elif new is None:
            transaction.delete(path, old.version)
        else:
            transaction.set_data(path, new, old.version)
    for change, result in zip(changes, transaction.commit(), strict=False):
        if isinstance(result, errors.NoAuthError):
            raise result
        if isinstance(result, errors.KazooException) and not isinstance(
            result, errors.RolledBackError | errors.RuntimeInconsistency
        ):
            raise Changed(f"{change.path} is not as it was when compared ({type(result).__name__}): {so_far}")
