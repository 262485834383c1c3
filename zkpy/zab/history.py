"""The history in memory: the tail of the log, from the last committed txns that learners may lack to what is proposed.

    before │ recent: committed, kept for learners │ outstanding: proposed and not committed
           └──────────── as far as `keep` ────────┘ committed                        proposed

    proposed ≥ taken (handed to the log) ≥ synced (on this disk); proposed ≥ committed (handed to the tree)

Zxids within an epoch have no holes: each txn is its predecessor plus one. Who has proposed txns and then changed its
role keeps them: they are in its log, and it is for the next leader to commit them or to have them cut.
"""

from collections import deque
from itertools import chain

from zkpy.proto.zxid import epoch_of

Entry = tuple[int, bytes]


class History:
    """Txns on their way to commitment; the zxids say how far each stage has come."""

    __slots__ = (
        "_outstanding",
        "_recent",
        "_untaken",
        "before",
        "committed",
        "keep",
        "proposed",
        "reign",
        "synced",
        "taken",
    )

    def __init__(self, last_zxid: int, keep: int = 0, tail: list[Entry] | None = None) -> None:
        """A history whose last txn is `last_zxid`; `tail` are the last txns of it, as many as are at hand."""
        #: Counts how often the history was cut or replaced: a sync of what was written before says nothing of it.
        self.reign = 0
        self.proposed = self.taken = self.synced = self.committed = last_zxid
        #: How many committed txns are kept.
        self.keep = keep
        #: The txn right before the first one that is kept here.
        self.before = last_zxid
        self._recent: deque[Entry] = deque()
        # proposed and not committed, oldest first
        self._outstanding: deque[Entry] = deque()
        # proposed and not taken; a suffix of the outstanding, unless commits have overtaken the log
        self._untaken: list[Entry] = []
        if tail and len(tail) > 1:
            assert tail[-1][0] == last_zxid, f"the history ends with {last_zxid:#x}, its tail with {tail[-1][0]:#x}"
            self.before = tail[0][0]
            self._recent.extend(tail[1:])
            self._forget()

    def propose(self, entries: list[Entry]) -> None:
        """The next proposals, (zxid, txn) each: those after the last one, or the first of a new epoch."""
        first, last = entries[0][0], entries[-1][0]
        assert self.is_next(first), f"a hole in the history: {first:#x} after {self.proposed:#x}"
        assert last == first + len(entries) - 1, f"a hole in the history before {last:#x}"
        self.proposed = last
        self._outstanding += entries
        self._untaken += entries

    def is_next(self, zxid: int) -> bool:
        """May this txn follow the last one?"""
        return zxid == self.proposed + 1 or epoch_of(zxid) > epoch_of(self.proposed)

    def take(self) -> list[Entry]:
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

    def commit(self, zxid: int) -> list[Entry]:
        """Everything up to `zxid` is on a quorum's disks: what is newly committed, in order."""
        assert zxid <= self.proposed
        if zxid <= self.committed:
            return []
        self.committed = zxid
        outstanding = self._outstanding
        if zxid == self.proposed:
            committed = list(outstanding)
            outstanding.clear()
        else:
            committed = []
            while outstanding and outstanding[0][0] <= zxid:
                committed.append(outstanding.popleft())
        if self.keep:
            self._recent.extend(committed)
            self._forget()
        elif committed:
            self.before = committed[-1][0]
        return committed

    def truncate(self, zxid: int) -> None:
        """The txns behind `zxid` are no part of the history."""
        assert zxid < self.proposed, f"nothing to cut behind {zxid:#x}: {self.proposed:#x} is the last txn"
        for entries in (self._outstanding, self._recent):
            while entries and entries[-1][0] > zxid:
                entries.pop()
        if zxid < self.before:
            self.before = zxid
        self._begin_anew(zxid, min(zxid, self.committed))

    def restore(self, zxid: int) -> None:
        """The whole history is replaced by a snapshot as of `zxid`."""
        self._outstanding.clear()
        self._recent.clear()
        self.before = zxid
        self._begin_anew(zxid, zxid)

    def entries(self, after: int, upto: int) -> list[Entry]:
        """The txns after `after` (which is not before `before`), up to `upto`."""
        assert after >= self.before, f"{after:#x} is not in memory: that begins after {self.before:#x}"
        return [entry for entry in chain(self._recent, self._outstanding) if after < entry[0] <= upto]

    def last_upto(self, zxid: int) -> int:
        """The last txn of the history up to `zxid` (which is not before `before`)."""
        assert zxid >= self.before
        last = self.before
        for found, _ in chain(self._recent, self._outstanding):
            if found > zxid:
                break
            last = found
        return last

    def check(self) -> None:
        """Assert what must always hold."""
        assert self.proposed >= self.taken >= self.synced
        assert self.proposed >= self.committed >= self.before
        zxids = [zxid for zxid, _ in chain(self._recent, self._outstanding)]
        for one, next_ in zip([self.before, *zxids], zxids, strict=False):
            assert next_ > one
            assert next_ == one + 1 or epoch_of(next_) > epoch_of(one)
        assert zxids[-1:] in ([], [self.proposed])
        assert len(self._recent) <= self.keep
        assert all(zxid <= self.committed for zxid, _ in self._recent)
        assert all(zxid > self.committed for zxid, _ in self._outstanding)

    def _forget(self) -> None:
        recent = self._recent
        while len(recent) > self.keep:
            self.before = recent.popleft()[0]

    def _begin_anew(self, zxid: int, committed: int) -> None:
        assert not self._untaken, "cut before it was written"
        self.reign += 1
        self.proposed = self.taken = zxid
        # What is on disk will be known when the cut itself is.
        self.synced = min(self.synced, zxid)
        self.committed = committed
