"""Which watches a session has, as its servers know them and as a new server must be told.

A shell has one watcher for all, so a watch is a kind and a path (as the servers say it, with the chroot). A watch of
`get` and `stat` on a znode is one of data; `stat` on an absent one is one of existence. One-shot watches go when they
fire; persistent ones stay. Source: Apache's `ZKWatchManager`.
"""

from __future__ import annotations

from typing import Final

from zkpy.proto import events, opcodes
from zkpy.proto.paths import parent_of
from zkpy.proto.records import SetWatches, SetWatches2

#: How many characters of paths go into one packet to a new server: well below what any server takes as a frame.
PACKET_CHARACTERS: Final = 128 * 1024

Told = tuple[int, SetWatches | SetWatches2]


class Watches:
    """The watches of one session. Used on the thread of its connection alone."""

    def __init__(self) -> None:
        self.data: dict[str, None] = {}
        self.exist: dict[str, None] = {}
        self.children: dict[str, None] = {}
        self.persistent: dict[str, None] = {}
        self.recursive: dict[str, None] = {}

    def fire(self, kind: int, path: str) -> bool:
        """Does anybody wait for this event? One-shot watches that did are gone."""
        one_shot = {
            events.NODE_CREATED: (self.data, self.exist),
            events.NODE_DATA_CHANGED: (self.data, self.exist),
            events.NODE_CHILDREN_CHANGED: (self.children,),
            events.NODE_DELETED: (self.data, self.exist, self.children),
        }[kind]
        found = False
        for kept in one_shot:
            if path in kept:
                del kept[path]
                found = True
        return found or path in self.persistent or (kind != events.NODE_CHILDREN_CHANGED and self._is_below(path))

    def _is_below(self, path: str) -> bool:
        while path not in self.recursive:
            if path == "/":
                return False
            path = parent_of(path)
        return True

    def remove(self, path: str, kind: int) -> list[int]:
        """Forget the watches of this kind (opcodes.WATCHER_*) at this path; an event kind for each sort of them."""
        sorts: dict[int, tuple[dict[str, None], ...]] = {
            events.CHILD_WATCH_REMOVED: (self.children,),
            events.DATA_WATCH_REMOVED: (self.data, self.exist),
            events.PERSISTENT_WATCH_REMOVED: (self.persistent, self.recursive),
        }
        wanted = {
            opcodes.WATCHER_CHILDREN: (self.children,),
            opcodes.WATCHER_DATA: (self.data, self.exist),
            opcodes.WATCHER_PERSISTENT: (self.persistent,),
            opcodes.WATCHER_PERSISTENT_RECURSIVE: (self.recursive,),
            opcodes.WATCHER_ANY: (self.data, self.exist, self.children, self.persistent, self.recursive),
        }[kind]
        removed = []
        for event, kepts in sorts.items():
            found = [kept for kept in kepts if path in kept and any(kept is one for one in wanted)]
            for kept in found:
                del kept[path]
            if found:
                removed.append(event)
        return removed

    def packets(self, last_zxid: int) -> list[Told]:
        """What a server that does not know them must be told: (opcode, record) each."""
        packets: list[Told] = []
        batch: tuple[list[str], ...] = ([], [], [], [], [])
        size = 0
        for at, kept in enumerate((self.data, self.exist, self.children, self.persistent, self.recursive)):
            for path in kept:
                batch[at].append(path)
                size += len(path)
                if size >= PACKET_CHARACTERS:
                    packets.append(_packet(last_zxid, *batch))
                    batch, size = ([], [], [], [], []), 0
        if any(batch):
            packets.append(_packet(last_zxid, *batch))
        return packets


def _packet(zxid: int, data: list[str], exist: list[str], children: list[str], *lasting: list[str]) -> Told:
    if any(lasting):
        return opcodes.SET_WATCHES2, SetWatches2(zxid, data, exist, children, *lasting)
    # Servers before 3.6 know only this one.
    return opcodes.SET_WATCHES, SetWatches(zxid, data, exist, children)
