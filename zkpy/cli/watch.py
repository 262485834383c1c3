"""`zkpy watch PATH -- HANDLER...`: run a program on each change of a znode, or print the changes."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from zkpy.cli.connecting import (
    CONNECT_S,
    NotPermitted,
    Unavailable,
    addresses_of,
    connecting,
    path_argument,
    probe,
)

if TYPE_CHECKING:
    from zkpy.cli.shell.connection import Event
    from zkpy.cli.shell.session import Session

EXIT_NO_HANDLER: Final = 127
DEFAULT_TIMEOUT_S: Final = 10.0


@click.command(
    epilog="Exit status: 0 after --count changes; the handler's own if it failed and --stop-on-error says so; 69"
    " without a server or once the session has expired; 77 if it is not permitted; 127 if there is no such HANDLER; 2"
    " for a wrong call; 130 if interrupted."
)
@connecting
@click.option("-R", "--recursive", is_flag=True, help="Also what is below PATH, at any depth.")
@click.option("--json", "as_json", is_flag=True, help="Print each change as a line of JSON, in the place of a handler.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many changes. [default: never]")
@click.option("--stop-on-error", is_flag=True, help="End when the handler fails. [default: say so and go on]")
@path_argument
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- HANDLER...]")
def watch(
    hosts: str,
    auth: tuple[tuple[str, str], ...],
    recursive: bool,
    as_json: bool,
    count: int | None,
    stop_on_error: bool,
    path: str,
    words: tuple[str, ...],
) -> None:
    """Run HANDLER on each change of the znode at PATH, one after the other; without HANDLER, print them.

    HANDLER finds ZKPY_EVENT (NodeCreated, NodeDataChanged, NodeChildrenChanged or NodeDeleted), ZKPY_PATH and ZKPY_ZXID
    in its environment, and the znode's data as of now on stdin (nothing once it is deleted). PATH need not exist yet.
    With --recursive, changes of children are told as those of the children themselves.

    What changes while the connection is lost is found out by comparison once it is back, and told as one change of each
    znode; of one that was deleted then, ZKPY_ZXID is 0. When the session has expired, this ends with 69.
    """
    if as_json and words:
        raise click.UsageError("--json prints, and HANDLER handles: leave one of them out")
    try:
        sys.exit(_Watching(path, words, as_json, stop_on_error).run(hosts, auth, recursive, count))
    except KeyboardInterrupt:
        sys.exit(130)


class _Watching:
    def __init__(self, path: str, words: tuple[str, ...], as_json: bool, stop_on_error: bool) -> None:
        self.path = path
        self.words = words
        self.as_json = as_json
        self.stop_on_error = stop_on_error
        self.happenings: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def run(self, hosts: str, auth: tuple[tuple[str, str], ...], recursive: bool, count: int | None) -> int:
        from zkpy.cli.known import Known
        from zkpy.cli.shell.session import Session
        from zkpy.proto import errors, events, opcodes

        mode = opcodes.ADD_WATCH_PERSISTENT_RECURSIVE if recursive else opcodes.ADD_WATCH_PERSISTENT
        credentials = [(scheme, credential.encode()) for scheme, credential in auth]
        probe(addresses_of(hosts), hosts)
        session = Session(hosts, int(DEFAULT_TIMEOUT_S * 1000), self.happenings.put, auth=credentials)
        try:
            self._await_session(hosts)
            try:
                session.add_watch(self.path, mode)
                known = Known(session, self.path, recursive)
            except errors.NoAuthError:
                raise NotPermitted(f"{hosts} does not permit a watch at {self.path}: see --auth") from None
            except errors.AuthFailedError:
                raise NotPermitted(f"{hosts} does not accept these credentials: see --auth") from None
            except errors.KeeperError as error:
                raise Unavailable(f"{hosts} took no watch at {self.path}: {error}") from None
            click.echo(f"zkpy: watching {self.path}", err=True)
            seen = 0
            while count is None or seen < count:
                event = self.happenings.get()
                if event.kind == events.NONE:
                    self._on_connection(event, hosts)
                    changes = known.catch_up() if event.state == events.SYNC_CONNECTED else []
                else:
                    changes = [event] if known.note(event) else []
                for change in changes[: None if count is None else count - seen]:
                    seen += 1
                    status = self._handle(session, change)
                    if status and self.stop_on_error:
                        return status
            return 0
        finally:
            session.close(1.0)

    def _await_session(self, hosts: str) -> None:
        from zkpy.proto import events

        deadline = time.monotonic() + CONNECT_S
        while True:
            try:
                event = self.happenings.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Unavailable(f"{hosts} gave no session within {CONNECT_S:g} s: is there a server?") from None
            self._on_connection(event, hosts)
            if event.state == events.SYNC_CONNECTED:
                return

    def _on_connection(self, event: Event, hosts: str) -> None:
        from zkpy.proto import events

        if event.state == events.EXPIRED:
            raise Unavailable(f"the session at {hosts} has expired: what changed since is not known")
        if event.state == events.AUTH_FAILED:
            raise NotPermitted(f"{hosts} does not accept these credentials: see --auth")

    def _handle(self, session: Session, event: Event) -> int:
        """Print a change, or run the handler on it; the handler's exit status."""
        from zkpy.proto import errors, events

        kind = events.EVENT_NAMES[event.kind]
        path = event.path or ""
        if self.as_json:
            click.echo(json.dumps({"event": kind, "path": path, "zxid": event.zxid}, ensure_ascii=False))
            return 0
        if not self.words:
            click.echo(f"{kind} {path}")
            return 0
        try:
            data = session.get(path)[0] or b"" if event.kind != events.NODE_DELETED else b""
        except errors.KeeperError:
            data = b""  # gone again, or not to be read; the handler knows what happened all the same
        environ = {**os.environ, "ZKPY_EVENT": kind, "ZKPY_PATH": path, "ZKPY_ZXID": str(event.zxid)}
        try:
            done = subprocess.run(self.words, input=data, env=environ, check=False)
        except OSError as error:
            click.echo(f"zkpy: {self.words[0]} cannot be run: {error.strerror}", err=True)
            sys.exit(EXIT_NO_HANDLER)
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode
        if status:
            click.echo(f"zkpy: {self.words[0]} ended with {status} on {kind} {path}", err=True)
        return status
