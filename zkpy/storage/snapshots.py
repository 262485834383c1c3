"""Snapshot files: the tree's image between a header and seals.

    header   magic "ZKSN", version int 2, dbid long -1
    image    sessions, ACLs, nodes (zkpy.tree.image)
    seal     Adler-32 of everything before it as long, then the string "/"
    digest   zxid long, version int 2, tree digest long; seal         both as they were when the image was complete;
             not there when the tree was fuzzy itself
    zxid     last applied zxid long; seal                             (3.9)

The checksum runs on through the seals. A file is named `snapshot.<last zxid applied when it began>`, with `.gz` or
`.snappy` if the whole stream is compressed. It is written under a name that nobody takes for a snapshot, synced, then
renamed: a snapshot is whole or not there. Sources: FileSnap, SnapStream.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any, Final
from zlib import adler32

import attrs

from jute import JuteError
from zkpy.storage import snappy
from zkpy.storage.errors import DamagedSnapshot
from zkpy.storage.files import list_files, sync_directory
from zkpy.tree.datatree import DataTree
from zkpy.tree.digest import MASK, VERSION, signed
from zkpy.tree.image import END, ImageLoader, ImageWriter

MAGIC: Final = 0x5A4B534E
_HEADER: Final = Struct(">iiq")
_LONG: Final = Struct(">q")
_DIGEST: Final = Struct(">qiq")
_SEAL_SIZE: Final = 13
#: How much of a compressed snapshot may be plain bytes; more is not believed.
_PLAIN_LIMIT: Final = 1 << 36
#: How much is read at once.
_BLOCK: Final = 1 << 20
#: The quickest: snapshots are taken while clients are served.
GZ_LEVEL: Final = 1
#: What begins the name of a snapshot that is being written.
UNFINISHED: Final = ".unfinished-snapshot-"


#: How much is left in the kernel's hands before it is told to write it out: what is left to the end, `finish` has to
#: wait for, and so has every sync of the log meanwhile.
PUSH_BYTES: Final = 1 << 20


class SnapshotWriter:
    """One snapshot being written: `step` until it says True, then `finish` (which may run in another thread)."""

    def __init__(
        self,
        directory: Path,
        tree: DataTree,
        *,
        compression: str = "",
        with_digest: bool = True,
        with_zxid: bool = True,
    ) -> None:
        """The snapshot begins now. `compression` is "", "gz" or "snappy"."""
        self._tree = tree
        self.zxid = tree.last_zxid
        self.directory = directory
        suffix = f".{compression}" if compression else ""
        self.path = directory / f"snapshot.{self.zxid:x}{suffix}"
        self._unfinished = directory / f"{UNFINISHED}{self.zxid:x}{suffix}"
        self._with_digest = with_digest
        self._with_zxid = with_zxid
        #: Bytes written so far.
        self.size = 0
        #: Is the disk busy with it just now?
        self.is_syncing = False
        # Up to where the kernel has been told to write it out.
        self._pushed = 0
        self._adler = 1
        self._compressor: Any = zlib.compressobj(GZ_LEVEL, zlib.DEFLATED, 31) if compression == "gz" else None
        self._is_snappy = compression == "snappy"
        self._file = self._unfinished.open("wb", buffering=0)
        if self._is_snappy:
            self._put(snappy.HEADER)
        self._write(_HEADER.pack(MAGIC, 2, -1))
        # The last step that may fail comes before this: the tree keeps old ACLs for as long as an image is under way.
        self._image = ImageWriter(tree)

    def step(self, budget: int) -> bool:
        """Write about `budget` bytes more; True once all is written and only `finish` is left. Raises OSError."""
        self._write(self._image.next_slice(budget))
        if self.size >= self._pushed + PUSH_BYTES:
            # Told that nobody will read this here, the kernel begins to write it out, and does not wait for that.
            os.posix_fadvise(self._file.fileno(), self._pushed, self.size - self._pushed, os.POSIX_FADV_DONTNEED)
            self._pushed = self.size
        if not self._image.is_done:
            return False
        self._seal()
        # The state the image was completed in: with the txns since its start replayed, the tree has this digest.
        tree = self._tree
        if self._with_digest and not tree.is_fuzzy:
            # Before the first txn there is no digest to speak of (DataTree.serializeZxidDigest).
            self._write(_DIGEST.pack(tree.last_zxid, VERSION, signed(tree.digest) if tree.last_zxid else 0))
            self._seal()
        if self._with_zxid:
            self._write(_LONG.pack(tree.last_zxid))
            self._seal()
        if self._compressor is not None:
            self._put(self._compressor.flush())
        return True

    def finish(self) -> None:
        """Make it durable under its own name. Touches nothing but the file. Raises OSError."""
        self.is_syncing = True
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.rename(self.path)
        sync_directory(self.directory)
        self.is_syncing = False

    def abort(self) -> None:
        """Leave nothing behind."""
        self._image.close()
        self._file.close()
        self._unfinished.unlink(missing_ok=True)

    def _seal(self) -> None:
        self._write(_LONG.pack(self._adler) + END)

    def _write(self, data: bytes) -> None:
        self._adler = adler32(data, self._adler)
        if self._compressor is not None:
            data = self._compressor.compress(data)
        elif self._is_snappy:
            data = b"".join(
                snappy.compress_chunk(data[at : at + snappy.CHUNK]) for at in range(0, len(data), snappy.CHUNK)
            )
        self._put(data)

    def _put(self, data: bytes) -> None:
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


@attrs.frozen
class Loaded:
    """What a snapshot said: its name's zxid, and the (zxid, digest) when it was completed, if it has one."""

    zxid: int
    digest: tuple[int, int] | None


def write_snapshot(directory: Path, tree: DataTree, **options: Any) -> Path:
    """Write a whole snapshot at once."""
    writer = SnapshotWriter(directory, tree, **options)
    try:
        while not writer.step(1 << 20):
            pass
        writer.finish()
    except BaseException:
        writer.abort()
        raise
    return writer.path


def looks_whole(path: Path) -> bool:
    """The quick test for a snapshot worth opening (SnapStream.isValidSnapshot)."""
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                return file.read(2) == b"\x1f\x8b"
            if path.suffix == ".snappy":
                return file.read(8) == snappy.MAGIC
            size = file.seek(0, os.SEEK_END)
            if size < 10:
                return False
            file.seek(size - len(END))
            return file.read() == END
    except OSError:
        return False


def find_snapshots(directory: Path, limit: int = 100) -> list[tuple[int, Path]]:
    """Snapshots that look whole, newest first, at most `limit`."""
    found = []
    for zxid, path in reversed(list_files(directory, "snapshot")):
        if looks_whole(path):
            found.append((zxid, path))
            if len(found) == limit:
                break
    return found


def load_snapshot(zxid: int, path: Path, tree: DataTree) -> Loaded:
    """Load a snapshot onto `tree`, replacing what it holds, and check every seal. Raises DamagedSnapshot."""
    try:
        return _load(zxid, path, _blocks(path), tree)
    except (OSError, ValueError) as error:  # JuteError is a ValueError
        raise DamagedSnapshot(path, str(error)) from error


def _blocks(path: Path) -> Iterator[bytes]:
    """The plain bytes, in blocks: a large snapshot does not take its size in memory beside the tree."""
    if path.suffix in (".gz", ".snappy"):
        yield _decompress(path, path.read_bytes())
        return
    # Read rather than mapped: an unreadable sector is then an error with a text, not a signal.
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            yield block


def _decompress(path: Path, data: bytes) -> bytes:
    if path.suffix == ".snappy":
        return snappy.decompress(data)
    decompressor = zlib.decompressobj(31)
    try:
        plain = decompressor.decompress(data, _PLAIN_LIMIT)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not decompressor.eof:
        raise ValueError("the compressed stream is cut short")
    return plain


def _load(zxid: int, path: Path, blocks: Iterator[bytes], tree: DataTree) -> Loaded:
    buf = next(blocks, b"")
    if len(buf) < _HEADER.size:
        raise DamagedSnapshot(path, "the header is cut short")
    magic, _, _ = _HEADER.unpack_from(buf)
    if magic != MAGIC:
        raise DamagedSnapshot(path, f"not a snapshot: it begins with {magic & 0xFFFFFFFF:08x}")
    loader = ImageLoader(tree)
    # where `buf` begins in the stream
    base = 0
    at = _HEADER.size
    adler = adler32(buf[:at])
    while True:
        start = at
        try:
            at = loader.feed(buf, at)
        except JuteError as error:
            raise JuteError(error.field, base + error.at, error.reason) from error
        adler = adler32(memoryview(buf)[start:at], adler)
        if loader.is_done:
            break
        block = next(blocks, b"")
        if not block:
            raise JuteError("snapshot", base + at, f"cut short: only {len(buf) - at} bytes are left")
        buf = buf[at:] + block
        base += at
        at = 0
    rest = buf[at:] + b"".join(blocks)
    digest = _read_sections(zxid, path, memoryview(rest), base + at, adler)
    tree.finish_load()
    tree.last_zxid = zxid
    return Loaded(zxid, digest)


def _read_sections(zxid: int, path: Path, rest: memoryview, base: int, adler: int) -> tuple[int, int] | None:
    """Check all that stands behind the image, `base` bytes into the stream; the (zxid, digest) there, if any."""
    adler, at = _check_seal(path, rest, 0, base, adler)
    # The sections behind the first seal have no tags: which are there follows from how much is left.
    left = len(rest) - at
    digest = None
    if left in (_DIGEST.size + _SEAL_SIZE, _DIGEST.size + _SEAL_SIZE + _LONG.size + _SEAL_SIZE):
        digest_zxid, version, value = _DIGEST.unpack_from(rest, at)
        # Zero stands for none; one older than the name belongs to no state that replay passes through.
        if version == VERSION and digest_zxid > 0 and digest_zxid >= zxid:
            digest = (digest_zxid, value & MASK)
        adler = adler32(rest[at : at + _DIGEST.size], adler)
        adler, at = _check_seal(path, rest, at + _DIGEST.size, base, adler)
    if len(rest) - at == _LONG.size + _SEAL_SIZE:
        adler = adler32(rest[at : at + _LONG.size], adler)
        _check_seal(path, rest, at + _LONG.size, base, adler)
    elif at != len(rest):
        raise DamagedSnapshot(path, f"offset {base + at}: {len(rest) - at} bytes behind the image are no section of it")
    return digest


def _check_seal(path: Path, rest: memoryview, at: int, base: int, adler: int) -> tuple[int, int]:
    """Compare the seal at `at` with the checksum so far; the checksum and the offset behind it."""
    end = at + _SEAL_SIZE
    if end > len(rest):
        raise DamagedSnapshot(path, f"offset {base + at}: the seal is cut short")
    (stored,) = _LONG.unpack_from(rest, at)
    if stored != adler or bytes(rest[at + 8 : end]) != END:
        raise DamagedSnapshot(path, f"offset {base + at}: the checksum is wrong")
    return adler32(rest[at:end], adler), end
