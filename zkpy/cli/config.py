"""`zkpy config`: read, set, watch, export, import and compare a subtree of znodes that is a configuration."""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from zkpy.cli.connecting import CommandError, Unavailable, connect, connecting, path_argument

if TYPE_CHECKING:
    from zkpy.cli.config_tree import Change, Value

STATUSES: Final = (
    "Exit status: 0 if done; 1 if refused; 3 if there is no such znode; 4 if it is not, or no longer, as told; 65 if"
    " FILE is no configuration; 69 without a server or if the connection was lost; 77 if it is not permitted; 2 for a"
    " wrong call."
)
#: A server takes requests of 1 MiB unless its jute.maxbuffer says more, and hangs up on longer ones.
LONG_VALUE: Final = 1_000_000
#: Between two tries to read while there is no connection.
AGAIN_S: Final = 0.2

Auth = tuple[tuple[str, str], ...]


file_argument = click.argument("file", type=click.File("rb"))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group(epilog=STATUSES + " `zkpy config diff` ends with 1 if there are differences.")
def config() -> None:
    """Read and change a subtree of znodes that is a configuration.

    A document, in YAML or JSON, is a mapping from the name of a child to its text, or to a mapping of its own children;
    "." is the value of the znode itself, and a value that is not text is {".": {"base64": "..."}}.
    """


@config.command(epilog=STATUSES)
@connecting
@json_option
@path_argument
def get(hosts: str, auth: Auth, as_json: bool, path: str) -> None:
    """Print the value of PATH, with a newline after it."""
    with connect(hosts, auth=auth) as client:
        from kazoo.exceptions import NoNodeError

        from zkpy.cli.config_tree import NoNode, told

        client.sync(path)
        try:
            data, stat = client.get(path)
        except NoNodeError:
            raise NoNode(f"there is no {path}") from None
    data = data or b""
    if as_json:
        click.echo(json.dumps({"path": path, **told(data), "version": stat.version, "mzxid": stat.mzxid}))
    else:
        click.echo(data)


@config.command("set", epilog=STATUSES)
@connecting
@json_option
@click.option("--if-version", type=click.IntRange(0), metavar="N", help="Only if the znode is there with this version.")
@path_argument
@click.argument("value")
def set_value(hosts: str, auth: Auth, as_json: bool, if_version: int | None, path: str, value: str) -> None:
    """Give PATH a VALUE (- for what stdin has) and print the version it has then.

    PATH is created, with what is above it, if it is not there, unless --if-version says that it is.
    """
    data = sys.stdin.buffer.read() if value == "-" else value.encode(errors="surrogateescape")
    try:
        with connect(hosts, auth=auth) as client:
            version = _set(client, path, data, if_version)
    except Unavailable as error:
        if len(data) <= LONG_VALUE or error.__cause__ is None:
            raise
        why = f"servers hang up on values as long as this one, {len(data)} bytes (jute.maxbuffer)"
        raise Unavailable(f"{error.message}; {why}") from error
    click.echo(json.dumps({"path": path, "version": version}) if as_json else f"{path} version {version}")


def _set(client: Any, path: str, data: bytes, if_version: int | None) -> int:
    from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

    from zkpy.cli.config_tree import Changed, NoNode

    try:
        try:
            return int(client.set(path, data, -1 if if_version is None else if_version).version)
        except NoNodeError:
            if if_version is not None:
                raise NoNode(f"there is no {path}: without --if-version it is created") from None
            client.create(path, data, makepath=True)
            return 0
    except BadVersionError:
        now = client.exists(path)
        has = f"version {now.version}" if now else "gone"
        raise Changed(f"{path} is not at version {if_version} but {has}: nothing was done") from None
    except (NodeExistsError, NoNodeError):
        raise Changed(f"{path} came and went meanwhile: nothing was done, try again") from None


@config.command(epilog=STATUSES)
@connecting
@json_option
@click.option("-R", "--recursive", is_flag=True, help="All that is below PATH, at any depth.")
@path_argument
def ls(hosts: str, auth: Auth, as_json: bool, recursive: bool, path: str) -> None:
    """List what is below PATH, with values; ephemeral znodes are left out."""
    with connect(hosts, auth=auth) as client:
        values = _there(client, path)
    from zkpy.cli.config_tree import shown, told

    prefix = path.rstrip("/") + "/"
    listed = {
        name: value
        for name, value in values.items()
        if name != path and (recursive or "/" not in name.removeprefix(prefix))
    }
    if as_json:
        rows = [{"path": name, **told(one.data), "version": one.version} for name, one in listed.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    for name, one in listed.items():
        click.echo(f"{name.removeprefix(prefix)} = {shown(one.data)}")


@config.command(epilog=STATUSES)
@connecting
@click.option("--json", "as_json", is_flag=True, help="Print each change as a line of JSON.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many changes. [default: never]")
@path_argument
def watch(hosts: str, auth: Auth, as_json: bool, count: int | None, path: str) -> None:
    """Print what changes at and below PATH, which need not be there yet.

    The lines of one moment are printed together. A value that changed twice before it could be read is told once, as it
    is then. This lives over lost connections and expired sessions, and tells what has changed meanwhile.
    """
    happenings: queue.SimpleQueue[object] = queue.SimpleQueue()
    # For as long as it takes: kazoo tries again, and wakes all watchers when it has a connection.
    forever = {"max_tries": -1, "max_delay": 1.0}
    with connect(hosts, auth=auth, connection_retry=forever) as client:
        from zkpy.cli.config_tree import Change

        before = _await_subtree(client, path, happenings)
        click.echo(f"zkpy: watching {path}", err=True)
        left = count
        while left is None or left > 0:
            happenings.get()
            while not happenings.empty():
                happenings.get()
            now = _await_subtree(client, path, happenings)
            changes = [
                Change(name, before.get(name), now[name].data if name in now else None)
                for name in sorted({*before, *now})
                if before.get(name) != now.get(name)
            ][:left]
            _print_changes(changes, as_json=as_json, now=now)
            before = now
            left = None if left is None else left - len(changes)


def _await_subtree(client: Any, path: str, happenings: queue.SimpleQueue[object]) -> dict[str, Value]:
    from kazoo.exceptions import ConnectionLoss, SessionExpiredError

    from zkpy.cli.config_tree import Changed, read_subtree

    while True:
        try:
            return read_subtree(client, path, happenings.put)
        except (ConnectionLoss, SessionExpiredError, Changed):
            time.sleep(AGAIN_S)


@config.command("export", epilog=STATUSES)
@connecting
@click.option("--json", "as_json", is_flag=True, help="As JSON. [default: as YAML]")
@path_argument
def export_subtree(hosts: str, auth: Auth, as_json: bool, path: str) -> None:
    """Print PATH and all below it, as of one moment, as a document; ephemeral znodes are left out."""
    with connect(hosts, auth=auth) as client:
        values = _there(client, path)
    from zkpy.cli import yaml
    from zkpy.cli.config_tree import to_document

    document = to_document(values, path)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n" if as_json else yaml.emit(document)
    click.echo(text.encode(), nl=False)


@config.command("import", epilog=STATUSES)
@connecting
@click.option("--prune", is_flag=True, help="Also delete what FILE does not name, and empty what it gives no value.")
@click.option("--dry-run", is_flag=True, help="Print the differences and end.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@path_argument
@file_argument
def import_subtree(hosts: str, auth: Auth, prune: bool, dry_run: bool, yes: bool, path: str, file: Any) -> None:
    """Make PATH and what is below it as FILE (- for stdin) says, in one transaction if a request has room for it.

    The differences are printed first. What FILE does not name stays as it is, without --prune. If what is there changes
    between the comparison and the transaction, nothing is done.
    """
    wanted = _wanted(file, path)
    with connect(hosts, auth=auth) as client:
        from zkpy.cli.config_tree import apply, differences, read_subtree

        changes = differences(read_subtree(client, path), wanted, exact=prune)
        _print_changes(changes, as_json=False)
        if dry_run or not changes:
            click.echo("nothing to do" if not changes else f"{len(changes)} to change, nothing done", err=True)
            return
        if not yes:
            if not sys.stdin.isatty():
                raise CommandError("nothing was done: --yes does it without asking")
            click.confirm("Do this?", abort=True, err=True)
        parent = path.rpartition("/")[0]
        if parent:
            client.ensure_path(parent)
        transactions = apply(client, changes)
    click.echo(f"{len(changes)} changed in {transactions} transaction{'s' * (transactions > 1)}", err=True)


@config.command(epilog=STATUSES + " 1 also if there are differences.")
@connecting
@json_option
@path_argument
@file_argument
def diff(hosts: str, auth: Auth, as_json: bool, path: str, file: Any) -> None:
    """Print what `import --prune` of FILE would change at and below PATH, and end with 1 if that is anything."""
    wanted = _wanted(file, path)
    with connect(hosts, auth=auth) as client:
        from zkpy.cli.config_tree import differences, read_subtree

        changes = differences(read_subtree(client, path), wanted, exact=True)
    _print_changes(changes, as_json=as_json)
    if changes:
        sys.exit(1)


def _there(client: Any, path: str) -> dict[str, Value]:
    from zkpy.cli.config_tree import NoNode, read_subtree

    values = read_subtree(client, path)
    if path not in values:
        raise NoNode(f"there is no {path} that lasts")
    return values


def _wanted(file: Any, path: str) -> dict[str, bytes | None]:
    from zkpy.cli.config_tree import BadDocument, from_document, parse

    name = getattr(file, "name", "<stdin>")
    try:
        text = file.read().decode()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadDocument(f"{name}: line {line}: this is not UTF-8") from None
    try:
        return from_document(parse(text), path)
    except BadDocument as error:
        raise BadDocument(f"{name}: {error.message}") from None


def _print_changes(changes: list[Change], *, as_json: bool, now: Mapping[str, Value] | None = None) -> None:
    """Each on a line: + for what there was not, - for what is not to be, ~ for another value."""
    from zkpy.cli.config_tree import shown, told

    for path, old, new in changes:
        if as_json:
            kind = "create" if old is None else "delete" if new is None else "set"
            line: dict[str, Any] = {"path": path, "change": kind}
            if old is not None:
                line["old"] = told(old.data)
            if new is not None:
                line["new"] = told(new)
            if now is not None and path in now:
                line["version"] = now[path].version
            click.echo(json.dumps(line, ensure_ascii=False))
        elif old is None:
            click.echo(f"+ {path} = {shown(new or b'')}")
        elif new is None:
            click.echo(f"- {path} = {shown(old.data)}")
        else:
            click.echo(f"~ {path} = {shown(old.data)} -> {shown(new)}")
