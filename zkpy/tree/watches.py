"""Watches: standing questions, and whom a change answers.

Two tables, each path → watcher → modes:

    data    getData, exists, addWatch       asked about the node itself
    child   getChildren, addWatch mode 0    asked about its list of children

A *standard* watch goes with its first firing on its exact path; *persistent* and *recursive* ones stay until they are
removed. A recursive watch stands in the data table and also hears of every descendant. The modes of one watcher on
one path coexist (3.9). A watcher is whatever hashable object the caller registers: here it is only a name.

There may be millions, nearly all of them standard ones whose watcher is the only one on its path: what stands in the
table for all of these is one dict, which the watcher has for its own and which is never changed.
Sources: WatchManager, WatcherModeManager, DataTree's triggerWatch calls.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from zkpy.proto import events
from zkpy.tree.acl import Acl
from zkpy.tree.datatree import CREATED, DATA_CHANGED, Change

STANDARD: Final = 1
PERSISTENT: Final = 2
RECURSIVE: Final = 4

#: A watcher with so many watches is dropped at once: hundreds of them may leave in one turn.
FEW: Final = 50
#: Of all others the caller lets so many watches go at a time (`drop_some`), in a millisecond or two.
DROP_AT_ONCE: Final = 2_000
#: How many watches must go at once for the tables to give memory back.
SHRINK_AT: Final = 10_000

W = TypeVar("W", bound=Hashable)
Table = dict[str, dict[W, int]]


class Firing(Generic[W]):
    """One event and who gets it: `kind` is the event type, `acl` what a receiver must be allowed to read."""

    __slots__ = ("acl", "kind", "path", "watchers")

    def __init__(self, kind: int, path: str, acl: Acl, watchers: dict[W, None]) -> None:
        self.kind = kind
        self.path = path
        self.acl = acl
        self.watchers = watchers


class Watches(Generic[W]):
    """All watches of one server's connections."""

    __slots__ = ("_alone", "_gone", "_paths", "child", "data", "leaving", "recursive_count")

    def __init__(self) -> None:
        self.data: Table[W] = {}
        self.child: Table[W] = {}
        #: Recursive watches in all: while it is 0 no change has to look at its ancestors.
        self.recursive_count = 0
        # watcher → the paths it stands at in (data, child); invariant: mirrors the two tables exactly
        self._paths: dict[W, tuple[dict[str, None], dict[str, None]]] = {}
        #: Watchers that were dropped and still stand in the tables, with what is left of their paths: nobody hears of
        #: them any more.
        self.leaving: dict[W, tuple[dict[str, None], dict[str, None]]] = {}
        # How many watches the first of those has lost already, in both tables.
        self._gone = [0, 0]
        # watcher → what stands in a table where it is alone, with a standard watch; of all in the tables
        self._alone: dict[W, dict[W, int]] = {}

    # --- asking ------------------------------------------------------------------------------------------------

    def watch_data(self, path: str, watcher: W, mode: int = STANDARD) -> None:
        """Ask about the node at `path`, whether it exists or not."""
        before = self._add(self.data, 0, path, watcher, mode)
        if mode & ~before & RECURSIVE:
            self.recursive_count += 1

    def watch_children(self, path: str, watcher: W, mode: int = STANDARD) -> None:
        """Ask about the list of children of `path`."""
        self._add(self.child, 1, path, watcher, mode)

    def watch_persistently(self, path: str, watcher: W, recursive: bool) -> None:
        """Add a watch that stays (addWatch)."""
        if recursive:
            self.watch_data(path, watcher, RECURSIVE)
        else:
            self.watch_data(path, watcher, PERSISTENT)
            self.watch_children(path, watcher, PERSISTENT)

    def has(self, path: str, watcher: W, data_modes: int, child_modes: int) -> bool:
        """Does the watcher stand at `path` with any of these modes in either table?"""
        return bool(
            (self.data.get(path) or {}).get(watcher, 0) & data_modes
            or (self.child.get(path) or {}).get(watcher, 0) & child_modes
        )

    def remove(self, path: str, watcher: W, data_modes: int, child_modes: int) -> bool:
        """Take these modes of the watcher off `path`; False if there were none."""
        found = self._take(self.data, 0, path, watcher, data_modes)
        return self._take(self.child, 1, path, watcher, child_modes) or found

    def drop(self, watcher: W) -> None:
        """Forget the watcher and all it asked (its connection has closed)."""
        paths = self._paths.pop(watcher, None)
        if paths is not None:
            self.leaving[watcher] = paths
            if len(self.leaving) == 1 and len(paths[0]) + len(paths[1]) <= FEW:
                self.drop_some()

    def drop_some(self) -> None:
        """Let some watches of those that leave go: a client may have had a million, and everybody waits for this."""
        left = DROP_AT_ONCE
        recursive = 0
        while self.leaving:
            watcher, paths = next(iter(self.leaving.items()))
            for side, table in enumerate((self.data, self.child)):
                mine = paths[side]
                some = min(left, len(mine))
                left -= some
                self._gone[side] += some
                for _ in range(some):
                    path, _ = mine.popitem()
                    entry = table[path]
                    if entry[watcher] & RECURSIVE:
                        recursive += 1
                    if len(entry) == 1:
                        del table[path]
                    else:
                        del entry[watcher]
            if paths[0] or paths[1]:
                break
            del self.leaving[watcher]
            del self._alone[watcher]
            self._shrink()
        self.recursive_count -= recursive

    def _shrink(self) -> None:
        """A watcher is gone. A dict keeps the size it once had; a copy has the size of what is in it."""
        data, child = self._gone
        self._gone = [0, 0]
        if data > SHRINK_AT and data > len(self.data):
            self.data = dict(self.data)
        if child > SHRINK_AT and child > len(self.child):
            self.child = dict(self.child)

    # --- firing ------------------------------------------------------------------------------------------------

    def fire(self, change: Change) -> list[Firing[W]]:
        """The events that `change` makes, in Apache's order; standard watches that fired are gone afterwards."""
        kind, path, acl, parent, parent_acl = change
        if kind == DATA_CHANGED:
            watchers = self._trigger_data(path)
            return [Firing(events.NODE_DATA_CHANGED, path, acl, watchers)] if watchers else []
        firings = []
        if kind == CREATED:
            watchers = self._trigger_data(path)
            if watchers:
                firings.append(Firing(events.NODE_CREATED, path, acl, watchers))
        else:
            watchers = self._trigger_data(path)
            if watchers:
                firings.append(Firing(events.NODE_DELETED, path, acl, watchers))
            also = self._trigger(self.child, 1, path)
            if also:
                # Whoever heard of the deletion as a data watch does not hear of it twice.
                also = {watcher: None for watcher in also if watcher not in watchers}
                if also:
                    firings.append(Firing(events.NODE_DELETED, path, acl, also))
        watchers = self._trigger(self.child, 1, parent)
        if watchers:
            firings.append(Firing(events.NODE_CHILDREN_CHANGED, parent, parent_acl, watchers))
        return firings

    def _trigger_data(self, path: str) -> dict[W, None]:
        watchers = self._trigger(self.data, 0, path)
        if self.recursive_count:
            at = path
            while at != "/":
                at = at[: at.rindex("/")] or "/"
                for watcher, modes in (self.data.get(at) or {}).items():
                    if modes & RECURSIVE and watcher not in self.leaving:
                        watchers[watcher] = None
        return watchers

    def _trigger(self, table: Table[W], side: int, path: str) -> dict[W, None]:
        entry = table.get(path)
        if entry is None:
            return {}
        watchers = dict.fromkeys(entry)
        if self.leaving:
            watchers = {watcher: None for watcher in entry if watcher not in self.leaving}
        for watcher in watchers:
            if entry[watcher] & STANDARD:
                self._take(table, side, path, watcher, STANDARD)
        return watchers

    # --- bookkeeping -------------------------------------------------------------------------------------------

    def _add(self, table: Table[W], side: int, path: str, watcher: W, mode: int) -> int:
        """Add a mode; those that it had there before."""
        paths = self._paths.get(watcher)
        if paths is None:
            assert watcher not in self.leaving, "a connection that has closed asks"
            paths = self._paths[watcher] = ({}, {})
            self._alone[watcher] = {watcher: STANDARD}
        entry = table.get(path)
        if entry is None:
            paths[side][path] = None
            table[path] = self._alone[watcher] if mode == STANDARD else {watcher: mode}
            return 0
        before = entry.get(watcher, 0)
        if mode & ~before:
            paths[side][path] = None
            if len(entry) == 1 and self._alone[next(iter(entry))] is entry:
                entry = table[path] = dict(entry)
            entry[watcher] = before | mode
        return before

    def _take(self, table: Table[W], side: int, path: str, watcher: W, modes: int) -> bool:
        entry = table.get(path)
        if entry is None:
            return False
        before = entry.get(watcher, 0)
        if not before & modes:
            return False
        after = before & ~modes
        if before & ~after & RECURSIVE:
            self.recursive_count -= 1
        if after:
            entry[watcher] = after
            return True
        if len(entry) == 1:
            del table[path]
        else:
            del entry[watcher]
        paths = self._paths[watcher]
        del paths[side][path]
        if not paths[0] and not paths[1]:
            del self._paths[watcher]
            del self._alone[watcher]
        return True

    # --- looking on --------------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """Watches in both tables, counted per watcher and path (the gauge watch_count)."""
        return sum(len(data) + len(child) for data, child in self._paths.values())

    def data_paths(self) -> dict[W, dict[str, None]]:
        """Watcher → the paths it stands at in the data table, for those with any (wchs, wchc)."""
        return {watcher: paths[0] for watcher, paths in self._paths.items() if paths[0]}

    def check(self) -> None:
        """Assert that the index mirrors the tables; for tests."""
        seen = 0
        paths = {**self._paths, **self.leaving}
        for side, table in enumerate((self.data, self.child)):
            for path, entry in table.items():
                assert entry, path
                for watcher, modes in entry.items():
                    assert modes, (path, watcher)
                    assert path in paths[watcher][side], (path, watcher)
                    seen += watcher not in self.leaving
        assert seen == self.total
        assert self._alone == {watcher: {watcher: STANDARD} for watcher in paths}
        assert self.recursive_count == sum(
            modes & RECURSIVE != 0 for entry in self.data.values() for modes in entry.values()
        )
