"""The log as a history: its tail for the memory of a member, parts of it for learners, and cutting it.

A history has no holes: within an epoch each txn is its predecessor plus one, and an epoch begins with counter 1. Where
a snapshot came from a leader the log may have a hole all the same (Apache's server leaves its old logs in place), which
a snapshot of a zxid in between gives away. Sources: FileTxnLog, ZKDatabase, LearnerHandler.
"""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from jute.wire import DEFAULT_MAX_LENGTH
from zkpy.proto.zxid import counter_of, epoch_of
from zkpy.storage.errors import StorageError
from zkpy.storage.files import list_files, sync_directory
from zkpy.storage.txnlog import HEADER_SIZE, RECORD_OVERHEAD, read_log

Entry = tuple[int, bytes]


def is_next(before: int, zxid: int, snapshots: list[int]) -> bool:
    """Is `zxid` the txn right after `before`, as far as can be told? `snapshots`: the zxids of those there are."""
    if zxid == before + 1:
        return True
    if epoch_of(zxid) <= epoch_of(before) or counter_of(zxid) != 1:
        return False
    # The zxid with which a reign begins (counter 0) names snapshots, but no txn.
    return not any(before < found < zxid and counter_of(found) for found in snapshots)


def read_tail(
    snap_dir: Path, log_dir: Path, last_zxid: int, count: int, limit: int = DEFAULT_MAX_LENGTH
) -> list[Entry]:
    """The last txns of the log, without a hole, at most `count`; none if the log does not end with `last_zxid`."""
    snapshots = [zxid for zxid, _ in list_files(snap_dir, "snapshot")]
    tail: deque[Entry] = deque()
    for _, path in reversed(list_files(log_dir, "log")):
        entries = deque(((zxid, entry) for zxid, _, entry in read_log(path, limit)), count - len(tail))
        while entries:
            entry = entries.pop()
            if tail:
                if not is_next(entry[0], tail[0][0], snapshots):
                    return list(tail)
            elif entry[0] != last_zxid:
                return []
            tail.appendleft(entry)
        if len(tail) == count:
            break
    return list(tail)


class LogReader:
    """Reads the log on from one txn, in chunks, for a learner that lacks it; the log may grow meanwhile."""

    __slots__ = ("_directory", "_entries", "_limit", "_next", "_snapshots", "kept")

    def __init__(
        self, snap_dir: Path, log_dir: Path, first: int, last: int, factor: float, limit: int = DEFAULT_MAX_LENGTH
    ) -> None:
        """Read from the greatest zxid not above `first` on, and up to `last` or later.

        There is nothing to read when the files behind the one to begin with are more than `factor` times the newest
        snapshot (0: whatever they are; negative: never), or when the log does not reach back to `first`.
        """
        found = list_files(snap_dir, "snapshot")
        self._directory = log_dir
        self._snapshots = [zxid for zxid, _ in found]
        self._limit = limit
        #: The last txn that was read, which comes again as the first one of the next chunk.
        self.kept: Entry | None = None
        # the one that was read too early
        self._next: Entry | None = None
        self._entries: Iterator[Entry] = iter(())
        logs = list_files(log_dir, "log")
        begin = max((at for at, (zxid, _) in enumerate(logs) if zxid <= first), default=None)
        if begin is None or factor < 0:
            return
        newest = found[-1][1].stat().st_size if found else 0
        # The first one is free, as it is in Apache's server: a learner that lacks its end needs no whole tree.
        size = sum(written_size(path) for zxid, path in logs[begin + 1 :] if zxid <= last)
        if factor == 0 or size <= factor * newest:
            self._entries = self._read(logs[begin][0], first)

    def read(self, last: int, budget: int) -> tuple[list[Entry] | None, bool]:
        """The next txns up to `last`, of about `budget` bytes; and is there nothing more to read at present?

        None if there is nothing at all. Raises StorageError for a damaged log.
        """
        entries = [] if self.kept is None else [self.kept]
        size = 0
        is_end = False
        while size < budget:
            entry = self._next or next(self._entries, None)
            self._next = None
            if entry is None or entry[0] > last:
                self._next = entry
                is_end = True
                break
            entries.append(entry)
            size += len(entry[1])
        if not entries:
            return None, True
        self.kept = entries[-1]
        return entries, is_end

    def _read(self, begins: int, first: int) -> Iterator[Entry]:
        """The txns from the greatest not above `first` on, up to a hole."""
        before: Entry | None = None
        is_begun = False
        while True:
            logs = list_files(self._directory, "log")
            path = next((path for zxid, path in logs if zxid == begins), None)
            if path is None:
                return  # purged meanwhile
            for zxid, _, entry in read_log(path, self._limit):
                if zxid > first:
                    if before is None or not is_next(before[0], zxid, self._snapshots):
                        return
                    if not is_begun:
                        is_begun = True
                        yield before
                    yield zxid, entry
                before = zxid, entry
            later = [zxid for zxid, _ in list_files(self._directory, "log") if zxid > begins]
            if not later:
                return
            begins = later[0]


def written_size(path: Path) -> int:
    """Bytes of a log without what is preallocated behind them, where the file system can tell."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE)
    except OSError:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def holds(log_dir: Path, zxid: int, limit: int = DEFAULT_MAX_LENGTH) -> bool:
    """Does the log have this txn? Raises DamagedLog."""
    paths = [path for begins, path in list_files(log_dir, "log") if begins <= zxid]
    return bool(paths) and any(found == zxid for found, _, _ in read_log(paths[-1], limit))


def truncate(log_dir: Path, zxid: int, limit: int = DEFAULT_MAX_LENGTH) -> None:
    """Cut the history behind the txn `zxid`, which must be in it; durable when this returns.

    Snapshots are the caller's to deal with: one newer than `zxid` must not be loaded. Raises DamagedLog, and
    StorageError if no log has the txn (FileTxnLog.truncate).
    """
    if not holds(log_dir, zxid, limit):
        raise StorageError(
            f"{log_dir}: no log holds txn {zxid:#x}, so the history cannot be cut behind it: logs have been deleted, or"
            " dataLogDir has been changed; empty the data directory to get everything from the leader"
        )
    cut(log_dir, zxid, limit)


def cut(log_dir: Path, zxid: int, limit: int = DEFAULT_MAX_LENGTH) -> None:
    """Take everything behind `zxid` out of the log; durable when this returns.

    Newer files go first: a crash on the way leaves a history that is too long, and to be cut again, but whole.
    """
    files = list_files(log_dir, "log")
    while files and files[-1][0] > zxid:
        files.pop()[1].unlink()
        sync_directory(log_dir)
    if not files:
        return
    path = files[-1][1]
    end = HEADER_SIZE
    for found, offset, entry in read_log(path, limit):
        if found > zxid:
            break
        end = offset + RECORD_OVERHEAD + len(entry)
    with path.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())
