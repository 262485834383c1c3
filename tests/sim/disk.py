"""A member's disk: what a crash leaves of it. Values stand for files; the fault model is this text.

    log        txns, in files that begin at some zxid           snapshots   zxid → the tree as of it, or a little later
    epochs     acceptedEpoch, currentEpoch                      pending     steps that are begun and not yet durable

- Work is done in order. Each step is durable or not; a crash keeps some of the pending steps, from the front: what was
  written after the last sync may be there, or not. A record that is torn is one that is not there, for recovery drops
  it; so cutting a batch of txns anywhere is also the torn tail.
- A log file is deleted whole, a snapshot too, one after the other, and a crash may come in between.
- A history can be cut behind a txn if it is a snapshot's, or the log's with a snapshot before; or the process ends.
- A sync takes time, drawn anew for each; a failing disk ends the process, as production does.
- A snapshot that is being taken is worth nothing until it is complete.

Recovery is production's: the newest snapshot, then every txn of the log behind it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from zkpy.proto.zxid import counter_of, epoch_of
from zkpy.zab.ready import Entry, Ready

Step = Callable[[], None]


class DiskError(Exception):
    """What is wanted cannot be done: the process ends."""


def is_next(last: int, zxid: int) -> bool:
    """May this txn follow that one, as far as zxids say?"""
    return zxid == last + 1 or (epoch_of(zxid) > epoch_of(last) and counter_of(zxid) == 1)


class Image:
    """A tree as a value: `content` is its owner's affair; it is of `zxid`, and fuzzy up to `end_zxid`."""

    __slots__ = ("content", "end_zxid", "zxid")

    def __init__(self, zxid: int, content: Any, end_zxid: int) -> None:
        self.zxid = zxid
        self.content = content
        self.end_zxid = end_zxid

    def finish(self) -> None:
        """Complete it; before that it is worth nothing."""


class Disk:
    """What is durable, and what is on its way there."""

    def __init__(self) -> None:
        #: Log files, oldest first: txns in each. A file is never empty, for it is created with its first txn.
        self.files: list[list[Entry]] = []
        #: zxid → image; the first start writes one of the empty tree.
        self.snapshots: dict[int, Image] = {0: Image(0, None, 0)}
        self.accepted = self.current = 0
        #: (token, steps): oldest first.
        self.pending: deque[tuple[int, list[Step]]] = deque()
        #: How often in a row it could not do what was wanted.
        self.refused = 0
        # the next txn begins a new file
        self._rolls = True

    # --- writing

    def submit(self, ready: Ready) -> None:
        """Take over the disk work of a Ready, as steps that a crash may come between."""
        steps: list[Step] = []
        if ready.truncate >= 0 and not self.can_cut(ready.truncate):
            raise DiskError(f"the history cannot be cut behind {ready.truncate:#x}")
        if ready.restore is not None or ready.truncate >= 0 or ready.append:
            self.refused = 0
        if ready.restore is not None:
            steps += self._restorers(ready.restore)
        if ready.truncate >= 0:
            steps += self._truncators(ready.truncate)
        steps += [self._appender(entry) for entry in ready.append]
        if ready.epochs is not None:
            accepted, current = ready.epochs
            # Two files, one after the other.
            steps.append(lambda: self._write_epochs(accepted, self.current))
            steps.append(lambda: self._write_epochs(accepted, current))
        self.pending.append((ready.token, steps))

    def finish(self, count: int) -> int:
        """The oldest `count` pieces of work are durable: the token of the last."""
        token = 0
        for _ in range(count):
            token, steps = self.pending.popleft()
            for step in steps:
                step()
        return token

    def crash(self, dice: random.Random, *, keeps_all: bool = False) -> int:
        """Some of the pending steps, from the front, are on disk, and the others are lost: how many."""
        steps = [step for _, steps in self.pending for step in steps]
        self.pending.clear()
        kept = len(steps) if keeps_all else dice.randint(0, len(steps))
        for step in steps[:kept]:
            step()
        self._rolls = True
        return len(steps) - kept

    def roll(self) -> None:
        """The next txn begins a new file."""
        self._rolls = True

    def keep(self, image: Image) -> None:
        """A snapshot is complete and durable."""
        self.snapshots[image.zxid] = image

    def purge(self, retain: int) -> None:
        """Keep so many snapshots, and the log from the oldest of them on."""
        while len(self.snapshots) > retain:
            del self.snapshots[min(self.snapshots)]
        oldest = min(self.snapshots)
        # The file with the txn after the oldest snapshot stays, and with it all that follow.
        while len(self.files) > 1 and self.files[1][0][0] <= oldest + 1:
            self.files.pop(0)

    # --- reading

    def recover(self) -> tuple[Image, list[Entry]]:
        """The newest snapshot, and the txns to apply after it."""
        zxid = max(self.snapshots)
        entries = [entry for file in self.files for entry in file if entry[0] > zxid]
        return self.snapshots[zxid], entries

    def last_zxid(self) -> int:
        """The last txn that is durable."""
        return max(self.files[-1][-1][0] if self.files else 0, max(self.snapshots))

    def epochs(self) -> tuple[int, int]:
        """acceptedEpoch and currentEpoch at a start: nobody is followed into an epoch that the history has left."""
        self.accepted = max(self.accepted, epoch_of(self.last_zxid()))
        return self.accepted, self.current

    def entries(self) -> list[Entry]:
        """The whole log."""
        return [entry for file in self.files for entry in file]

    def tail(self, count: int) -> list[Entry]:
        """The last txns of the log without a hole, as a Peer gets them at its start; none if a snapshot is ahead."""
        entries = self.entries()[-count:] if count else []
        if not entries or entries[-1][0] != self.last_zxid():
            return []
        at = len(entries) - 1
        while at and is_next(entries[at - 1][0], entries[at][0]):
            at -= 1
        return entries[at:]

    def copy(self) -> Disk:
        """A backup of what is durable."""
        other = Disk()
        other.files = [list(file) for file in self.files]
        other.snapshots = dict(self.snapshots)
        other.accepted, other.current = self.accepted, self.current
        return other

    # --- steps

    def _appender(self, entry: Entry) -> Step:
        def append() -> None:
            last = self.files[-1][-1][0] if self.files else 0
            # A snapshot may be of a tree that was ahead of the log, as commits may be: a crash leaves a hole.
            covered = max(self.snapshots)
            assert entry[0] > last, f"{entry[0]:#x} logged after {last:#x}"
            assert entry[0] <= covered or is_next(covered, entry[0]) or is_next(last, entry[0]), (
                f"{entry[0]:#x} logged after {last:#x}, with a snapshot of {covered:#x}"
            )
            if self._rolls or not self.files:
                self.files.append([])
                self._rolls = False
            self.files[-1].append(entry)

        return append

    def can_cut(self, zxid: int) -> bool:
        """Are there a snapshot that is old enough, and the txn to be cut behind?"""
        if zxid == 0 or zxid in self.snapshots:
            return True
        files = [file for file in self.files if file[0][0] <= zxid]
        return min(self.snapshots) <= zxid and bool(files) and any(found == zxid for found, _ in files[-1])

    def _truncators(self, zxid: int) -> list[Step]:
        """The log is cut from its end, and then newer snapshots go."""

        def drop_newer_files() -> None:
            self.files[:] = [file for file in self.files if file[0][0] <= zxid]
            self._rolls = True

        def cut() -> None:
            self._cut(zxid)

        def drop_snapshots() -> None:
            self.snapshots = {one: image for one, image in self.snapshots.items() if one <= zxid}
            if not zxid:
                self.snapshots = {0: Image(0, None, 0)}
            assert self.last_zxid() == zxid, f"cut behind {zxid:#x}, the history ends with {self.last_zxid():#x}"

        return [drop_newer_files, cut, drop_snapshots]

    def _restorers(self, image: Image) -> list[Step]:
        """What is behind it goes first; then the snapshot; then all that is older."""

        def drop_others() -> None:
            self.snapshots = {image.zxid: image}

        return [lambda: self._cut(image.zxid), lambda: self.keep(image), drop_others, self.files.clear]

    def _cut(self, zxid: int) -> None:
        for file in self.files:
            file[:] = [entry for entry in file if entry[0] <= zxid]
        self.files[:] = [file for file in self.files if file]
        self._rolls = True

    def _write_epochs(self, accepted: int, current: int) -> None:
        assert accepted >= self.accepted, f"acceptedEpoch {self.accepted} → {accepted}"
        assert current >= self.current, f"currentEpoch {self.current} → {current}"
        assert accepted >= current, f"acceptedEpoch {accepted}, currentEpoch {current}"
        self.accepted, self.current = accepted, current
