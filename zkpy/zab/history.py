"""The tail of the history that is not committed yet, in memory.

    proposed ≥ taken (handed to the log) ≥ synced ≥ committed

Zxids within an epoch have no holes: each proposal is its predecessor plus one.
"""

from collections import deque


class History:
    """Proposals on their way to commitment; the zxids say how far each stage has come."""

    __slots__ = ("_entries", "_untaken", "committed", "proposed", "reign", "synced", "taken")

    def __init__(self, last_zxid: int) -> None:
        #: Counts how often the history was cut or replaced: a sync of what was written before says nothing of it.
        self.reign = 0
        self.proposed = self.taken = self.synced = self.committed = last_zxid
        # proposed and not committed, oldest first
        self._entries: deque[tuple[int, bytes]] = deque()
        # proposed and not taken; a suffix of the entries
        self._untaken: list[tuple[int, bytes]] = []

    def propose(self, entries: list[tuple[int, bytes]]) -> None:
        """The next proposals, (zxid, txn) each."""
        first, last = entries[0][0], entries[-1][0]
        assert first == self.proposed + 1, f"a hole in the history: {first:#x} after {self.proposed:#x}"
        assert last == self.proposed + len(entries), f"a hole in the history before {last:#x}"
        self.proposed = last
        self._entries += entries
        self._untaken += entries

    def take(self) -> list[tuple[int, bytes]]:
        """What is to be written to the log now."""
        untaken = self._untaken
        self._untaken = []
        self.taken = self.proposed
        return untaken

    def sync(self, zxid: int) -> None:
        """Everything up to `zxid` is on this member's disk."""
        assert zxid <= self.taken, "synced before it was written"
        if zxid > self.synced:
            self.synced = zxid

    def commit(self, zxid: int) -> list[tuple[int, bytes]]:
        """Everything up to `zxid` is on a quorum's disks: what is newly committed, in order."""
        assert zxid <= self.proposed
        if zxid <= self.committed:
            return []
        self.committed = zxid
        entries = self._entries
        if zxid == self.proposed:
            committed = list(entries)
            entries.clear()
            return committed
        committed = []
        while entries and entries[0][0] <= zxid:
            committed.append(entries.popleft())
        return committed
