"""The mirror: a copy of one subtree that steps from one consistent snapshot to the next.

    watches ─ event ─→ what is out of date ─→ read it again, with new watches ─┬─ nothing fired meanwhile: publish
                              ↑                                                └─ something fired: once more ─┐
                              └───────────────────────────────────────────────────────────────────────────────┘

Its law: a snapshot is published only when every node in it was read under a watch and no watch had fired by the time
the last answer came. Servers send a watch's event before any answer that could show the change; so at the moment of
that answer all nodes were as read, all at once: no change that happened together is ever seen in part. After a new
connection, whenever somebody asks for what is newest, and every now and then, a sync goes to the leader ahead of the
reads: what is published then shows all that was committed before. Not for each change: the leader of an ensemble would
have to answer all subscribers each time.

A subtree that is written without a pause, faster than it can be read, shows nothing new until there is one: it is
configuration.

kazoo (2.11) knows one-time watches only, and drops them with the connection: then everything is read again. What else
may fail here is tried again for as long as the mirror lives.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError
from kazoo.protocol.states import Callback, EventType, KazooState, WatchedEvent

from zkpy.recipes.config_values import Entry, Snapshot

log = logging.getLogger("zkpy.recipes.config")

#: Requests in flight at once: enough to hide the way there and back, little enough for any server.
BATCH: Final = 500
#: Between two looks at whether to go on waiting for an answer.
LOOK_S: Final = 0.2
#: After a failure that is not the loss of the connection.
PAUSE_S: Final = 0.3
#: The one child of "/" that is no configuration.
RESERVED: Final = "/zookeeper"


class Interrupted(Exception):
    """The connection or the mirror ended while an answer was awaited."""


class _Node:
    """One node as last read. Either half may be there first."""

    __slots__ = ("children", "entry", "zxid")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.zxid = 0
        self.children: frozenset[str] = frozenset()


class Mirror:
    """Keeps `snapshot` as the servers have it, in a thread of its own, from `start` to `close`.

    `changed` guards what is public here, and is notified whenever any of it changes.
    """

    def __init__(self, client: KazooClient, root: str, confirm_s: float) -> None:
        """`confirm_s`: how long the snapshot may go without being confirmed while nothing changes."""
        lock = threading.RLock()
        self.changed = threading.Condition(lock)
        #: Over the same lock, for the thread alone: each event wakes it, and nobody else.
        self._work = threading.Condition(lock)
        self.snapshot: Snapshot | None = None
        #: When the sync that last confirmed the snapshot was sent, on the monotonic clock.
        self.confirmed_s = -1.0
        #: Is it kept up to date? Not before the first snapshot, and not from a lost connection to the next snapshot.
        self.is_following = False
        #: How often it has stopped being so.
        self.losses = 0
        self.is_closed = False
        #: Why the last attempt to read failed, if it did.
        self.failure: Exception | None = None
        self._client = client
        self._root = root
        self._confirm_s = confirm_s
        self._nodes: dict[str, _Node] = {}
        self._unreadable: set[str] = set()
        # Guarded by `changed`: what has fired since it was read, whether all must be read, tickets of `catch_up`.
        self._fired_data: set[str] = set()
        self._fired_children: set[str] = set()
        self._is_lost = True
        self._asked = 0
        self._answered = 0
        self._thread = threading.Thread(target=self._run, name=f"zkpy-config {root}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._client.add_listener(self._on_state)
        self._thread.start()

    def close(self) -> None:
        """End it; returns once the thread has ended."""
        self._client.remove_listener(self._on_state)
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
            self._work.notify_all()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def catch_up(self, timeout_s: float) -> bool:
        """Wait until the snapshot shows all that was committed before this call; False if that took too long."""
        with self.changed:
            self._asked += 1
            ticket = self._asked
            self._work.notify_all()
            return self.changed.wait_for(lambda: self._answered >= ticket or self.is_closed, timeout_s) and (
                self._answered >= ticket
            )

    # --- what comes from kazoo's threads: note it, and never wait -----------------------------------------------------

    def _on_state(self, state: str) -> None:
        with self.changed:
            if state != KazooState.CONNECTED:
                self._lose()
            self.changed.notify_all()
            self._work.notify_all()

    def _on_event(self, event: WatchedEvent) -> None:
        if event.type == EventType.NONE:
            return  # the connection is lost: `_on_state` has heard of it
        with self.changed:
            if event.type != EventType.CHILD:
                self._fired_data.add(event.path)
            if event.type != EventType.CHANGED:
                self._fired_children.add(event.path)
            self._work.notify_all()

    def _lose(self) -> None:
        self._is_lost = True
        self.losses += self.is_following
        self.is_following = False

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._await_work():
            try:
                self._step()
            except (KazooException, Interrupted, self._client.handler.timeout_exception) as error:
                with self.changed:
                    self.failure = error
                    self._lose()
                    self.changed.notify_all()
                    if not self.is_closed:
                        log.info("%s: read again soon, as this failed: %r", self._root, error)
                        self._work.wait(PAUSE_S)

    def _await_work(self) -> bool:
        """Wait for a reason to step; False once closed."""
        with self.changed:
            while not self.is_closed:
                if self._client.connected:
                    left_s = self._confirm_in_s()
                    if self._is_lost or self._has_fired() or self._asked > self._answered or left_s <= 0:
                        return True
                    self._work.wait(left_s)
                else:
                    # The listener hears of the new connection; the look is for a client that was not started yet.
                    self._work.wait(LOOK_S)
            return False

    def _confirm_in_s(self) -> float:
        return self.confirmed_s + self._confirm_s - time.monotonic()

    def _has_fired(self) -> bool:
        return bool(self._fired_data or self._fired_children)

    def _step(self) -> None:
        with self.changed:
            data, self._fired_data = self._fired_data, set()
            children, self._fired_children = self._fired_children, set()
            ticket = self._asked
            is_confirming = not self.is_following or ticket > self._answered or self._confirm_in_s() <= 0
            if self._is_lost:
                self._is_lost = False
                self._nodes.clear()
                data, children = {self._root}, {self._root}
        known = self._nodes.keys() | {self._root}
        is_read = bool(data or children)
        # Requests of one session are answered in their order: what is read is no older than the sync.
        sent_s = time.monotonic()
        pending = self._client.sync_async(self._root) if is_confirming else None
        self._read(data & known, children & known)
        if pending is not None:
            self._result(pending)
        self._await_events()
        # Where there is nothing, no stat tells a zxid. The answer that showed it came with one that is late enough;
        # and an earlier one than of any creation, as none has fired.
        zxid = max((node.zxid for node in self._nodes.values()), default=self._client.last_zxid)
        with self.changed:
            if self._is_lost or self._has_fired():
                return  # once more: what was read is not all from one moment
            if is_read or self.snapshot is None:
                self._publish(zxid)
            if pending is not None:
                self.confirmed_s = sent_s
                self._answered = ticket
            self.is_following = True
            self.failure = None
            self.changed.notify_all()

    def _publish(self, zxid: int) -> None:
        below = len(self._root.rstrip("/")) + 1
        entries = {path[below:]: node.entry for path, node in self._nodes.items() if node.entry is not None}
        before = self.snapshot
        if before is None or before.entries != entries or before.zxid != zxid:
            self.snapshot = Snapshot(entries, zxid)

    def _await_events(self) -> None:
        """Return once kazoo has handed over all events that came before the answers so far: its queue is in order."""
        is_done = threading.Event()
        self._client.handler.dispatch_callback(Callback("watch", is_done.set, ()))
        while not is_done.wait(LOOK_S):
            self._check_going_on()

    def _result(self, pending: Any) -> Any:
        """An answer. Raises what kazoo raises, and Interrupted if none will come."""
        while True:
            try:
                return pending.get(timeout=LOOK_S)
            except self._client.handler.timeout_exception:
                if pending.ready():
                    return pending.get()
                self._check_going_on()

    def _check_going_on(self) -> None:
        if self.is_closed or not self._client.connected:
            raise Interrupted("the connection is lost")

    # --- reading, with watches ----------------------------------------------------------------------------------------

    def _read(self, data: Iterable[str], children: Iterable[str]) -> None:
        """Read these halves of nodes again, and all of the nodes that turn out to be new."""
        client, watch = self._client, self._on_event
        todo: list[tuple[Callable[..., Any], str]] = [(self._take_data, path) for path in sorted(data)]
        todo += [(self._take_children, path) for path in sorted(children)]
        is_rootless = False
        while todo:
            batch, todo = todo[:BATCH], todo[BATCH:]
            asked = [
                client.get_async(path, watch)
                if take == self._take_data
                else client.get_children_async(path, watch, include_data=True)
                for take, path in batch
            ]
            for (take, path), pending in zip(batch, asked, strict=True):
                try:
                    new = take(path, self._result(pending))
                except NoNodeError:
                    self._drop(path)
                    is_rootless |= path == self._root
                except NoAuthError:
                    if path not in self._unreadable:
                        self._unreadable.add(path)
                        log.warning("%s must not be read: it counts as absent", path)
                    if path == self._root:
                        raise
                    self._drop(path)
                else:
                    todo += [(half, child) for child in new for half in (self._take_data, self._take_children)]
            if is_rootless and not todo:
                is_rootless = False
                # Absence is watched, too. If it has come to exist in between, there is something to read after all.
                if self._result(client.exists_async(self._root, watch)) is not None:
                    todo = [(self._take_data, self._root), (self._take_children, self._root)]

    def _take_data(self, path: str, result: Any) -> list[str]:
        value, stat = result
        if path == self._root or path in self._nodes:
            node = self._nodes.setdefault(path, _Node())
            node.zxid = max(stat.mzxid, stat.pzxid)
            if node.entry is None or node.entry.mzxid != stat.mzxid:
                node.entry = Entry(value or b"", stat.version, stat.mzxid)
        return []

    def _take_children(self, path: str, result: Any) -> list[str]:
        names, stat = result
        if path != self._root and path not in self._nodes:
            return []
        node = self._nodes.setdefault(path, _Node())
        node.zxid = max(stat.mzxid, stat.pzxid)
        children = {self._join(path, name) for name in names} - {RESERVED}
        for gone in node.children - children:
            self._drop(gone)
        new = sorted(children - self._nodes.keys())
        node.children = frozenset(children)
        for child in new:
            self._nodes[child] = _Node()
        return new

    def _drop(self, path: str) -> None:
        node = self._nodes.pop(path, None)
        for child in node.children if node is not None else ():
            self._drop(child)

    @staticmethod
    def _join(path: str, name: str) -> str:
        return f"/{name}" if path == "/" else f"{path}/{name}"
