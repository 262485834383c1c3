"""A data directory in use: recovered, locked, its log open for writing."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from jute.wire import set_max_length
from zkpy.storage.files import lock_directory, prepare_directory
from zkpy.storage.purge import purge
from zkpy.storage.recover import Recovered, recover
from zkpy.storage.snapshots import SnapshotWriter, write_snapshot
from zkpy.storage.txnlog import TxnLog
from zkpy.tree.datatree import DataTree


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


class Store:
    """The tree as recovered, the log to append to, and when to take the next snapshot."""

    def __init__(self, options: StoreOptions, progress: Callable[[int], None] = lambda replayed: None) -> None:
        """Recover the directory. Raises StorageError if it cannot be used."""
        self.options = options
        self._locks: list[int] = []
        # Members of an ensemble must not all take their snapshots at once.
        self._random = random.Random(os.urandom(8))
        try:
            self.snap_dir = self._claim(options.data_dir, "dataDir")
            self.log_dir = self._claim(options.data_log_dir, "dataLogDir")
            set_max_length(options.max_length)
            self.tree = DataTree(extended_types=options.extended_types, digest_enabled=options.digest_enabled)
            self.recovered: Recovered = recover(
                self.tree,
                self.snap_dir,
                self.log_dir,
                trust_empty=options.trust_empty,
                db_autocreate=options.db_autocreate,
                limit=options.max_length,
                progress=progress,
            )
            if self.recovered.snapshot is None or self.recovered.is_repaired:
                # Logs without any snapshot are not believed, so there is one before the first txn.
                write_snapshot(self.snap_dir, self.tree, **self._snapshot_options())
        except BaseException:
            self.close()
            raise
        self.log = TxnLog(
            self.log_dir,
            pre_alloc_bytes=options.pre_alloc,
            force_sync=options.force_sync,
            size_limit=options.log_size_limit,
        )
        self._txns = self._bytes = 0
        self._draw()

    def wants_snapshot(self, txns: int, size: int) -> bool:
        """Count `txns` more txns of `size` bytes; True once enough have come since the last time it was True."""
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
