"""What `zkpy watch` knows of the znodes it watches, so that nothing that changed is missed or told twice.

Servers keep no record of what a lasting watch would have told while its client was away. So the zxids of each znode are
kept here; once the connection is back they are compared with what there is then. The same zxids tell whether an event
in the queue is news, or was seen by a comparison already.
"""

from __future__ import annotations

from typing import NamedTuple

from zkpy.cli.shell.connection import Event
from zkpy.cli.shell.session import Session
from zkpy.cli.shell.znodes import walk
from zkpy.proto import errors, events


class Zxids(NamedTuple):
    """When a znode was created, set, and given or bereft of a child."""

    created: int
    changed: int
    children: int


class Known:
    """The znodes below a path, or the one there, as far as they have been told of."""

    def __init__(self, session: Session, path: str, recursive: bool) -> None:
        """Looks at all of them. Raises KeeperError."""
        self._session = session
        self._path = path
        self._recursive = recursive
        self._zxids = self._look()

    def note(self, event: Event) -> bool:
        """Take in an event; is it news?"""
        path = event.path or ""
        old = self._zxids.get(path)
        if event.zxid <= 0:  # a server older than 3.9 does not say when: all it tells is news
            self._learn(path)
            return True
        if event.kind == events.NODE_DELETED:
            if old is None or old.created > event.zxid:
                return False
            del self._zxids[path]
            return True
        if event.kind == events.NODE_CREATED:
            if old is not None and old.created >= event.zxid:
                return False
            self._zxids[path] = Zxids(event.zxid, event.zxid, event.zxid)
            return True
        is_data = event.kind == events.NODE_DATA_CHANGED
        if old is None:
            # Deleted since, as a comparison has seen and told.
            return False
        if event.zxid <= (old.changed if is_data else old.children):
            return False
        self._zxids[path] = old._replace(changed=event.zxid) if is_data else old._replace(children=event.zxid)
        return True

    def catch_up(self) -> list[Event]:
        """What has changed without an event, in the order of zxids, deletions first."""
        try:
            now = self._look()
        except errors.KeeperError:
            return []  # lost again: the next connection will tell
        before, self._zxids = self._zxids, now
        found = []
        for path, old in before.items():
            new = now.get(path)
            if new is None or new.created != old.created:
                found.append((0, events.NODE_DELETED, path))
        for path, new in now.items():
            old_or_none = before.get(path)
            if old_or_none is None or old_or_none.created != new.created:
                found.append((new.created, events.NODE_CREATED, path))
            elif new.changed != old_or_none.changed:
                found.append((new.changed, events.NODE_DATA_CHANGED, path))
            elif new.children != old_or_none.children and not self._recursive:
                found.append((new.children, events.NODE_CHILDREN_CHANGED, path))
        return [Event(kind, events.SYNC_CONNECTED, path, zxid) for zxid, kind, path in sorted(found)]

    def _look(self) -> dict[str, Zxids]:
        found: dict[str, Zxids] = {}

        def visit(path: str) -> None:
            stat = self._session.exists(path)
            if stat is not None:
                found[path] = Zxids(stat.czxid, stat.mzxid, stat.pzxid)

        if not self._recursive:
            visit(self._path)
            return found
        try:
            walk(self._session, self._path, visit)
        except errors.NoNodeError:
            pass  # not there yet
        return found

    def _learn(self, path: str) -> None:
        self._zxids.pop(path, None)
        try:
            stat = self._session.exists(path)
        except errors.KeeperError:
            return
        if stat is not None:
            self._zxids[path] = Zxids(stat.czxid, stat.mzxid, stat.pzxid)
