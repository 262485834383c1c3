"""A data directory in use: recovered, locked, its log open for writing; and what a leader makes of it.

A member's history is not its own alone: its leader may have it cut (`truncate`) or replaced (`restore`). Both go by an
order in which a crash at any point leaves a directory that recovers, to the history before or to that after.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from jute.wire import set_max_length
from zkpy.storage import history
from zkpy.storage.epochs import Epochs
from zkpy.storage.errors import StorageError
from zkpy.storage.files import list_files, lock_directory, prepare_directory, sync_directory
from zkpy.storage.history import Entry, LogReader
from zkpy.storage.purge import purge
from zkpy.storage.recover import Recovered, recover
from zkpy.storage.snapshots import SnapshotWriter, find_snapshots, write_snapshot
from zkpy.storage.txnlog import NoLog, TxnLog
from zkpy.tree.datatree import DataTree
from zkpy.zab.ready import Ready


@attrs.frozen
class StoreOptions:
    """How to keep a data directory; each field's Apache key stands beside it. Sizes in bytes."""

    data_dir: Path  # dataDir
    data_log_dir: Path  # dataLogDir
    extended_types: bool = False  # extendedTypesEnabled
    digest_enabled: bool = True  # digest.enabled
    with_zxid: bool = True  # serializeLastProcessedZxid.enabled
    autocreate: bool = True  # datadir.autocreate
    db_autocreate: bool = True  # db.autocreate
    trust_empty: bool = False  # snapshot.trust.empty
    compression: str = ""  # snapshot.compression.method
    snap_count: int = 100_000  # snapCount, txns
    snap_size_limit: int = 1 << 32  # snapSizeLimitInKb; 0 or less = off
    log_size_limit: int = -1  # txnLogSizeLimitInKb; -1 = off
    pre_alloc: int = 1 << 26  # preAllocSize
    force_sync: bool = True  # forceSync
    max_length: int = 2 * 0xFFFFF  # jute.maxbuffer + extrasize
    snapshot_size_factor: float = 0.33  # snapshotSizeFactor
    keeps_log: bool = True  # syncEnabled, of an observer; else there are only the trees that a leader sends


class Store:
    """The tree as recovered, the log to append to, and when to take the next snapshot."""

    def __init__(self, options: StoreOptions, progress: Callable[[int], None] = lambda replayed: None) -> None:
        """Recover the directory. Raises StorageError if it cannot be used."""
        self.options = options
        #: A member's; None for a standalone server, which keeps none.
        self.epochs: Epochs | None = None
        self._locks: list[int] = []
        # Members of an ensemble must not all take their snapshots at once.
        self._random = random.Random(os.urandom(8))
        try:
            self.snap_dir = self._claim(options.data_dir, "dataDir")
            self.log_dir = self._claim(options.data_log_dir, "dataLogDir")
            set_max_length(options.max_length)
            self.tree = self.new_tree()
            self.recovered: Recovered = self._recover(self.tree, progress)
            if self.recovered.snapshot is None or self.recovered.is_repaired:
                # Logs without any snapshot are not believed, so there is one before the first txn.
                write_snapshot(self.snap_dir, self.tree, **self._snapshot_options())
        except BaseException:
            self.close()
            raise
        self.log = (TxnLog if options.keeps_log else NoLog)(
            self.log_dir,
            pre_alloc_bytes=options.pre_alloc,
            force_sync=options.force_sync,
            size_limit=options.log_size_limit,
        )
        self._txns = self._bytes = 0
        self._draw()

    def new_tree(self) -> DataTree:
        """A tree as this directory holds them, still empty."""
        return DataTree(extended_types=self.options.extended_types, digest_enabled=self.options.digest_enabled)

    # --- a member's history ------------------------------------------------------------------------------------

    def open_epochs(self) -> Epochs:
        """The epoch files, there from now on: this is a member's directory. Raises StorageError if it cannot be."""
        self.epochs = Epochs(self.snap_dir, self.tree.last_zxid)
        return self.epochs

    def carry_out(self, ready: Ready) -> None:
        """Do a Ready's disk work in its order; durable when this returns. Nothing else may be written meanwhile.

        Raises OSError, after which nobody knows what is on disk, and StorageError.
        """
        epochs = self.epochs
        if ready.epochs is not None:
            assert epochs is not None, "epochs of a server that is no member"
            if ready.epochs[0] > epochs.accepted:
                epochs.write(ready.epochs[0], epochs.current)
            if ready.append or ready.restore is not None:
                epochs.announce(ready.epochs[1])
        if ready.restore is not None:
            assert isinstance(ready.restore, DataTree)
            self.restore(ready.restore)
        if ready.truncate >= 0:
            self.truncate(ready.truncate)
        if ready.append:
            self.log.extend(ready.append)
            self.log.commit(self.log.take())
        if ready.epochs is not None and epochs is not None:
            epochs.write(*ready.epochs)

    def tail(self, count: int) -> list[Entry]:
        """The last txns of the log, without a hole, at most `count`."""
        return history.read_tail(self.snap_dir, self.log_dir, self.tree.last_zxid, count, self.options.max_length)

    def reader(self, first: int, last: int) -> LogReader:
        """What reads the log for a learner whose last txn is `first`, up to `last` or later."""
        options = self.options
        return LogReader(self.snap_dir, self.log_dir, first, last, options.snapshot_size_factor, options.max_length)

    def restore(self, tree: DataTree) -> None:
        """Make `tree`, which has come from a leader, all that there is; durable when this returns.

        What lies behind its zxid goes before it is there, as no leader will ever want that again, and what lies before
        it goes after.
        """
        # The leader went on while it sent the tree, until when the stream does not say; all of that comes before this
        # member serves.
        tree.is_fuzzy = True
        zxid = tree.last_zxid
        history.cut(self.log_dir, zxid, self.options.max_length)
        path = write_snapshot(self.snap_dir, tree, **self._snapshot_options())
        for directory, kind in ((self.snap_dir, "snapshot"), (self.log_dir, "log")):
            # The newest first: whatever a crash leaves is the beginning of a history, or nothing at all.
            for _, old in reversed(list_files(directory, kind)):
                if old != path:
                    old.unlink()
            sync_directory(directory)
        self._adopt(tree)

    def can_cut(self, zxid: int) -> bool:
        """Is there what `truncate` behind this txn needs: the txn itself, and a snapshot that is not newer?"""
        whole = [found for found, _ in find_snapshots(self.snap_dir) if found <= zxid]
        if zxid in (0, *whole):
            return True
        return bool(whole) and history.holds(self.log_dir, zxid, self.options.max_length)

    def truncate(self, zxid: int) -> bool:
        """Cut the history behind `zxid`, durably, and the tree if it is ahead: then True, and `tree` is another one.

        Raises StorageError if that cannot be done.
        """
        if zxid == 0:
            self._empty()
            return True
        whole = [found for found, _ in find_snapshots(self.snap_dir) if found <= zxid]
        if not whole:
            raise StorageError(
                f"{self.snap_dir}: the leader wants the history cut behind {zxid:#x}, and no snapshot is older than"
                " that: empty the data directory to get everything from the leader"
            )
        newer = [path for found, path in list_files(self.snap_dir, "snapshot") if found > zxid]
        # Reading comes before deleting: a log that has not got this txn is left as it is. It need not have it where a
        # snapshot has: one that came from a leader replaced all logs, and what follows it may have to go.
        cut = history.cut if zxid in whole else history.truncate
        cut(self.log_dir, zxid, self.options.max_length)
        for path in reversed(newer):
            path.unlink()
        sync_directory(self.snap_dir)
        if self.tree.last_zxid <= zxid:
            self.log.begin_anew()
            return False
        tree = self.new_tree()
        self._recover(tree, lambda replayed: None)
        if tree.last_zxid != zxid:
            raise StorageError(f"{self.log_dir}: cut behind {zxid:#x}, the history ends with {tree.last_zxid:#x}")
        self._adopt(tree)
        return True

    def _empty(self) -> None:
        """Nothing remains. Logs go first: snapshots without logs are a history too, logs without snapshots are not."""
        for directory, kind in ((self.log_dir, "log"), (self.snap_dir, "snapshot")):
            for _, path in reversed(list_files(directory, kind)):
                path.unlink()
            sync_directory(directory)
        tree = self.new_tree()
        write_snapshot(self.snap_dir, tree, **self._snapshot_options())
        self._adopt(tree)

    def _adopt(self, tree: DataTree) -> None:
        self.tree = tree
        self.log.begin_anew()
        self._txns = self._bytes = 0

    # --- snapshots ---------------------------------------------------------------------------------------------

    def wants_snapshot(self, txns: int, size: int) -> bool:
        """Count `txns` more txns of `size` bytes; True once enough have come since the last time it was True."""
        if not self.options.keeps_log:
            return False
        self._txns += txns
        self._bytes += size
        if self._txns <= self._txn_limit and (self._size_limit <= 0 or self._bytes <= self._size_limit):
            return False
        self._txns = self._bytes = 0
        self._draw()
        return True

    def begin_snapshot(self) -> SnapshotWriter:
        """Start a snapshot, and a new log with the next txn."""
        self.log.roll()
        return SnapshotWriter(self.snap_dir, self.tree, **self._snapshot_options())

    def purge(self, keep: int) -> list[Path]:
        """Delete what recovery does not need; which files that were."""
        return purge(self.snap_dir, self.log_dir, keep)

    def sizes(self) -> tuple[int, int]:
        """Bytes in the snapshot directory and in the log directory, each with all its files."""
        return _size_of(self.snap_dir), _size_of(self.log_dir)

    def close(self) -> None:
        """Close the log and let others have the directory."""
        log: TxnLog | None = getattr(self, "log", None)
        if log is not None:
            log.close()
        while self._locks:
            os.close(self._locks.pop())

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _recover(self, tree: DataTree, progress: Callable[[int], None]) -> Recovered:
        options = self.options
        return recover(
            tree,
            self.snap_dir,
            self.log_dir,
            trust_empty=options.trust_empty,
            db_autocreate=options.db_autocreate,
            limit=options.max_length,
            progress=progress,
        )

    def _claim(self, parent: Path, what: str) -> Path:
        directory = prepare_directory(parent, what, create=self.options.autocreate)
        if self._locks and directory.samefile(self.snap_dir):
            return self.snap_dir
        self._locks.append(lock_directory(directory))
        return directory

    def _snapshot_options(self) -> dict[str, Any]:
        options = self.options
        return {
            "compression": options.compression,
            "with_digest": options.digest_enabled,
            "with_zxid": options.with_zxid,
        }

    def _draw(self) -> None:
        """The next snapshot comes after somewhere between half and all of the limits (SyncRequestProcessor)."""
        half = self.options.snap_count // 2
        self._txn_limit = half + self._random.randrange(max(1, half))
        size = self.options.snap_size_limit // 2
        self._size_limit = size + self._random.randrange(size) if size > 0 else 0


def _size_of(directory: Path) -> int:
    total = 0
    for entry in os.scandir(directory):
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            pass  # purged meanwhile
    return total
