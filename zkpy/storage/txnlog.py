"""The txn log: checksummed records, appended, synced in batches, and read back past a torn tail.

    file     magic "ZKLG", version int 2, dbid long 0, then records, then zeros (preallocated)
    record   Adler-32 of the entry as long, length int, entry, 0x42

A file is named `log.<zxid of its first record>` and never opened for appending again: each start and each roll makes a
new one. End of file, a length of zero and a missing 0x42 all mean the end of that file, since a crash may tear what was
not acknowledged yet; a checksum that is wrong *with* its 0x42 is damage. Sources: FileTxnLog, FilePadding.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import adler32

from jute.wire import DEFAULT_MAX_LENGTH
from zkpy.storage.errors import DamagedLog
from zkpy.storage.files import list_files, sync_directory, write_all

MAGIC: Final = 0x5A4B4C47
VERSION: Final = 2
_HEADER: Final = Struct(">iiq")
_RECORD: Final = Struct(">qi")
_ZXID: Final = Struct(">q")
_END: Final = b"B"
HEADER_SIZE: Final = _HEADER.size
#: What a record is longer than its entry.
RECORD_OVERHEAD: Final = _RECORD.size + len(_END)
#: Where the zxid stands in an entry: behind clientId and cxid.
_ZXID_AT: Final = 12
#: How close to the end of what is preallocated a write may come before more is.
_MARGIN: Final = 4096
#: Zeros written ahead of the records, together with the record that reaches the end of the last ones. The first write
#: to a preallocated block changes the file's metadata, and a sync that has to record that takes half as long again;
#: so it is done for many blocks at once (256 KiB: a sync of 10 kB took 145 us on average instead of 200).
_ZEROS: Final = bytes(1 << 18)


class Batch:
    """Records on their way to disk: per file, its first zxid if it is to be created now, and the bytes."""

    __slots__ = ("segments",)

    def __init__(self, segments: list[tuple[int | None, bytes]]) -> None:
        self.segments = segments


class TxnLog:
    """The writing end. `append` and `take` belong to one thread; `commit` may run in another, one at a time."""

    def __init__(
        self, directory: Path, *, pre_alloc_bytes: int = 1 << 26, force_sync: bool = True, size_limit: int = -1
    ) -> None:
        """Write to new files in `directory`; `size_limit` in bytes rolls a file that has grown past it, -1 = never."""
        self.directory = directory
        self.pre_alloc_bytes = pre_alloc_bytes
        self.force_sync = force_sync
        self.size_limit = size_limit
        self.txns_since_roll = 0
        self.bytes_since_roll = 0
        self._parts: list[bytes] = []
        # the first zxid of the file that the parts gathered now begin, None if they continue the open one
        self._begins: int | None = None
        self._is_new = True
        self._segments: list[tuple[int | None, bytes]] = []
        self._fd = -1
        self._path: Path | None = None
        self._at = 0
        self._allocated = 0
        # up to where blocks have been written, with zeros at least
        self._touched = 0

    @property
    def current_path(self) -> Path | None:
        """The file that was written last, None before the first write."""
        return self._path

    @property
    def opens_file(self) -> bool:
        """Will the next `commit` begin a file, which takes several syncs?"""
        return self._begins is not None or any(begins is not None for begins, _ in self._segments)

    def append(self, zxid: int, entry: bytes) -> None:
        """Add one record to the batch that `take` gives."""
        self.extend([(zxid, entry)])

    def extend(self, entries: list[tuple[int, bytes]]) -> None:
        """Add records, (zxid, entry) each and at least one, to the batch that `take` gives."""
        if self.size_limit >= 0 and len(entries) > 1:
            for one in entries:  # any of them may be the one to roll at
                self.extend([one])
            return
        if self._is_new:
            self._is_new = False
            self._begins = entries[0][0]
        pack = _RECORD.pack
        put = self._parts.append
        size = 0
        for _, entry in entries:
            length = len(entry)
            put(pack(adler32(entry), length))
            put(entry)
            put(_END)
            size += length
        self.txns_since_roll += len(entries)
        self.bytes_since_roll += size + RECORD_OVERHEAD * len(entries)
        if 0 <= self.size_limit < self.bytes_since_roll:
            self.roll()

    def roll(self) -> None:
        """The next record begins a new file."""
        if not self._is_new:
            if self._parts:
                self._segments.append((self._begins, b"".join(self._parts)))
                self._parts.clear()
            self._begins = None
            self._is_new = True
        self.txns_since_roll = self.bytes_since_roll = 0

    def take(self) -> Batch:
        """All that was appended since the last call."""
        segments = self._segments
        self._segments = []
        if self._parts:
            segments.append((self._begins, b"".join(self._parts)))
            self._parts.clear()
            self._begins = None
        return Batch(segments)

    def commit(self, batch: Batch) -> None:
        """Write the batch and sync it. Raises OSError: after that nobody knows what is on disk."""
        for begins, data in batch.segments:
            if begins is not None:
                self._open(begins)
            end = self._at + len(data)
            self._allocate(end)
            if end <= self._touched:
                write_all(self._fd, data, self._at)
            else:
                self._touched = min(end + len(_ZEROS), self._allocated)
                write_all(self._fd, data + _ZEROS[: max(0, self._touched - end)], self._at)
            self._at = end
        if self.force_sync and batch.segments:
            os.fdatasync(self._fd)

    def begin_anew(self) -> None:
        """The directory's logs have been cut or deleted: the next record begins a new file."""
        assert not self._segments, "cut before it was written"
        assert not self._parts, "cut before it was written"
        self._begins = None
        self._is_new = True
        self.txns_since_roll = self.bytes_since_roll = 0
        self.close()
        self._path = None

    def close(self) -> None:
        """Close the file. What was not committed is not written."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, zxid: int) -> None:
        if self._fd >= 0:
            if self.force_sync:
                os.fdatasync(self._fd)
            os.close(self._fd)
        self._path = self.directory / f"log.{zxid:x}"
        # A file of this name can only be one whose first record was never completed.
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        write_all(self._fd, _HEADER.pack(MAGIC, VERSION, 0), 0)
        if self.force_sync:
            # Before the file grows: else a power cut can leave a long file of zeros, whose header nobody accepts.
            os.fdatasync(self._fd)
        self._at = self._allocated = self._touched = _HEADER.size
        sync_directory(self.directory)

    def _allocate(self, end: int) -> None:
        """Grow the file ahead of the writes, so that a sync has no new size to record."""
        step = self.pre_alloc_bytes
        if step <= 0 or end + _MARGIN < self._allocated:
            return
        size = self._allocated + step
        if end > size:
            size = (end + step) // step * step
        try:
            os.posix_fallocate(self._fd, 0, size)
        except OSError:
            # Not on this file system, or not that much space left: the writes will find out what there is.
            os.ftruncate(self._fd, size)
        self._allocated = size


class NoLog(TxnLog):
    """Forgets what it is given: of an observer that keeps no history (syncEnabled=false)."""

    def extend(self, entries: list[tuple[int, bytes]]) -> None:
        """Nothing is written, so nothing has to be durable."""


def read_log(path: Path, limit: int = DEFAULT_MAX_LENGTH) -> Iterator[tuple[int, int, bytes]]:
    """The records of one file as (zxid, offset, entry), up to its end or its torn tail.

    Raises DamagedLog for a bad header, a length over `limit` and a checksum that does not fit.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise DamagedLog(path, 0, f"the header is cut short: {len(header)} bytes of {_HEADER.size}")
        magic = _HEADER.unpack(header)[0]
        if magic != MAGIC:
            raise DamagedLog(path, 0, f"not a txn log: it begins with {magic & 0xFFFFFFFF:08x}")
        at = _HEADER.size
        while True:
            prefix = file.read(_RECORD.size)
            if len(prefix) < _RECORD.size:
                return
            checksum, length = _RECORD.unpack(prefix)
            if length == 0:
                return
            if not 0 < length <= limit:
                raise DamagedLog(path, at, f"a record has the length {length} (jute.maxbuffer allows {limit})")
            record = file.read(length + 1)
            if len(record) <= length or record[length:] != _END:
                return
            entry = record[:length]
            if length < _ZXID_AT + 8:
                raise DamagedLog(path, at, f"a record of {length} bytes has no zxid")
            zxid = _ZXID.unpack_from(entry, _ZXID_AT)[0]
            if adler32(entry) != checksum:
                raise DamagedLog(path, at, f"the checksum of a record is wrong (its zxid seems to be {zxid:#x})")
            yield zxid, at, entry
            at += _RECORD.size + length + 1


def read_from(directory: Path, zxid: int, limit: int = DEFAULT_MAX_LENGTH) -> Iterator[tuple[int, Path, int, bytes]]:
    """All records with this zxid or a later one as (zxid, path, offset, entry), over all files in order."""
    for path in _files_from(directory, zxid):
        for found, offset, entry in read_log(path, limit):
            if found >= zxid:
                yield found, path, offset, entry


def _files_from(directory: Path, zxid: int) -> list[Path]:
    """The newest log that begins at or before `zxid`, and all after it (FileTxnLog.getLogFiles)."""
    files = list_files(directory, "log")
    first = 0
    for at, (begins, _) in enumerate(files):
        if begins <= zxid:
            first = at
    return [path for _, path in files[first:]]
