"""The node of our own below which all load is put: made for a run, emptied after creates, removed at the end.

    /zkpy-bench                   its data says whose it is
    ├── n000 ... n999             what get, set and mixed work on
    ├── c00 ... c15               the parents of what create makes
    └── w                         what is watched

Its law: what this run has not made stays as it is. A node that is there already is refused, and before anything is
removed its data must be what this run has put there.
"""

from __future__ import annotations

import os
import queue
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from jute import JuteError
from zkpy.cli.bench.requests import OPEN_ACL, Names
from zkpy.cli.bench.wire import refusal
from zkpy.cli.connecting import CONNECT_S, CommandError, NotPermitted, Unavailable
from zkpy.cli.shell.connection import Event, Request
from zkpy.cli.shell.session import Session
from zkpy.proto import errors, events, opcodes
from zkpy.proto import records as r

#: Short, so that a server that hangs is noticed while somebody waits.
SESSION_TIMEOUT_MS: Final = 10_000
#: How long to try to remove everything over lost connections.
REMOVE_S: Final = 15.0
_RETRY_S: Final = 0.2
#: Deletes in a transaction.
_BATCH: Final = 500
#: Requests under way while nodes are made, and bytes.
_UNDER_WAY: Final = 200
_UNDER_WAY_BYTES: Final = 1 << 22
#: Requests of more than the default jute.maxbuffer make a server close the connection.
_USUAL_LIMIT: Final = 0xFFFFF

#: Called with how many nodes have been removed so far.
OnRemoved = Callable[[int], None]


def open_session(hosts: str, auth: Sequence[tuple[str, bytes]]) -> Session:
    """A session that lives. Raises Unavailable, NotPermitted."""
    happenings: queue.SimpleQueue[Event] = queue.SimpleQueue()
    session = Session(hosts, SESSION_TIMEOUT_MS, happenings.put, auth=auth)
    deadline = time.monotonic() + CONNECT_S
    try:
        while True:
            event = happenings.get(timeout=max(0.0, deadline - time.monotonic()))
            if event.state == events.SYNC_CONNECTED:
                return session
            if event.state == events.AUTH_FAILED:
                raise NotPermitted(f"{hosts} does not accept these credentials: see --auth")
    except queue.Empty:
        raise Unavailable(
            f"{hosts} gave no session within {CONNECT_S:g} s: it does not answer, has no quorum, or is no ZooKeeper"
            " server"
        ) from None


class Tree:
    """That node, over a session of its own, which survives lost connections."""

    def __init__(self, hosts: str, auth: Sequence[tuple[str, bytes]], path: str, nodes: int, size: int) -> None:
        self.hosts = hosts
        self.path = path
        self.size = size
        self._auth = auth
        self._session = open_session(hosts, auth)
        #: As the load sees it: with the chroot of the connect string.
        self.names = Names(self._session.chroot + path, nodes)
        self._mark = f"zkpy bench, process {os.getpid()} on {socket.gethostname()}, {uuid.uuid4()}".encode()
        #: Has a server been asked to make it, and not refused?
        self._may_be_there = False

    def make(self, ops: Iterable[str]) -> None:
        """Make it, with what these operations work on. Raises CommandError if it is there, or may not be made."""
        self._may_be_there = True
        try:
            self._session.create(self.path, self._mark)
        except errors.KeeperError as error:
            self._may_be_there = error.code in (errors.CONNECTIONLOSS, errors.SESSIONEXPIRED)
            if isinstance(error, errors.NodeExistsError):
                raise CommandError(f"{self.path} is there already{self._whose()}: {self._remedy()}") from None
            if isinstance(error, errors.NoNodeError):
                raise CommandError(f"there is no parent for {self.names.root}: make it, or see --path") from None
            raise refusal(self.hosts, error.code, f"making {self.path}") from None
        requests = [self._create(path, self.size) for path in self._wanted(set(ops))]
        window = max(1, min(_UNDER_WAY, _UNDER_WAY_BYTES // (self.size + 1)))
        under_way: deque[Request] = deque()
        for body in requests:
            request = Request(opcodes.CREATE, body)
            self._session.submit(request)
            under_way.append(request)
            if len(under_way) >= window:
                self._check(under_way.popleft())
        for request in under_way:
            self._check(request)

    def _wanted(self, ops: set[str]) -> Iterator[str]:
        if ops & {"get", "set", "mixed"}:
            yield from self.names.nodes
        if "create" in ops:
            yield from self.names.parents
        if "watch" in ops:
            yield self.names.watched

    def _create(self, path: str, size: int) -> bytes:
        return r.CreateRequest(path, b"x" * size, list(OPEN_ACL), opcodes.PERSISTENT).to_bytes()

    def _check(self, request: Request) -> None:
        request.done.wait()
        if request.code:
            error = refusal(self.hosts, request.code, f"making nodes below {self.path}")
            if len(request.body) > _USUAL_LIMIT and isinstance(error, Unavailable):
                raise Unavailable(f"{error.message}: requests above a server's jute.maxbuffer, by default 1 MB, end so")
            raise error

    def _whose(self) -> str:
        try:
            data = self._session.get(self.path)[0] or b""
        except errors.KeeperError:
            return ""
        mark = data.decode("utf-8", "replace")
        return f", made by {mark.rpartition(',')[0]}" if mark.startswith("zkpy bench, process ") else ", not made by me"

    def _remedy(self) -> str:
        return f"name another one with --path, or remove it (`zkpy shell deleteall {self.path}`)"

    def empty_parents(self, on_removed: OnRemoved) -> None:
        """Remove what create has made. Raises CommandError."""
        try:
            self._empty_parents(on_removed)
        except errors.KeeperError as error:
            raise refusal(self.hosts, error.code, f"removing nodes below {self.path}") from None
        except JuteError as error:
            raise self._wrong(error) from None

    def _wrong(self, error: JuteError) -> CommandError:
        return CommandError(f"{self.hosts} gave a wrong answer: {error}")

    def _empty_parents(self, on_removed: OnRemoved) -> None:
        count = 0

        def paths() -> Iterator[str]:
            nonlocal count
            for parent in self._children(self.path):
                if parent.startswith(f"{self.path}/c"):
                    for child in self._children(parent):
                        yield child
                        count += 1
                        on_removed(count)

        if not self._session.delete_all(paths(), _BATCH):
            raise errors.NotEmptyError(self.path)

    def _children(self, path: str) -> list[str]:
        return [f"{path}/{name}" for name in self._session.children(path)]

    def remove(self, on_removed: OnRemoved) -> None:
        """Remove all of it, if this run has made it; tries again over lost connections. Raises CommandError."""
        if not self._may_be_there:
            return
        deadline = time.monotonic() + REMOVE_S
        while True:
            try:
                if not self._session.is_alive:
                    self._session = open_session(self.hosts, self._auth)
                if self._session.get(self.path)[0] != self._mark:
                    return
                self._empty_parents(on_removed)
                self._session.delete_all(self._children(self.path), _BATCH)
                self._session.delete(self.path)
                return
            except errors.NoNodeError:
                return
            except errors.KeeperError as error:
                failure = refusal(self.hosts, error.code, f"removing {self.path}")
            except Unavailable as error:
                failure = error
            except JuteError as error:
                failure = self._wrong(error)
            if time.monotonic() > deadline or isinstance(failure, NotPermitted):
                raise failure
            time.sleep(_RETRY_S)

    def left_behind(self) -> str:
        """What to say where it could not be removed."""
        return f"{self.path} is left behind: `zkpy shell deleteall {self.path}` removes it"

    def close(self) -> None:
        """End the session."""
        self._session.close(1.0)
