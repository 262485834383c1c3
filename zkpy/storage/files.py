"""What the store does to files: the seam between it and the operating system. Everything here blocks."""

import fcntl
import os
import re
from pathlib import Path
from typing import Final

from zkpy.storage.errors import UnusableDirectory

VERSION_DIR: Final = "version-2"
LOCK_NAME: Final = ".zkpy.lock"

_HEX: Final = re.compile("[0-9a-fA-F]{1,16}")


def write_all(fd: int, data: bytes, at: int) -> None:
    """Write all of `data` at offset `at`. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view = view[written:]
        at += written


def sync_directory(path: Path) -> None:
    """Make created, renamed and deleted names in `path` survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def zxid_of(path: Path, kind: str) -> int:
    """The zxid in a file's name (`log.5`, `snapshot.5.gz`), -1 if it is not of this kind (Util.getZxidFromName)."""
    parts = path.name.split(".")
    if len(parts) < 2 or parts[0] != kind:
        return -1
    if not _HEX.fullmatch(parts[1]):
        return -1
    zxid = int(parts[1], 16)
    return zxid if zxid < 1 << 63 else -1


def list_files(directory: Path, kind: str) -> list[tuple[int, Path]]:
    """All files of a kind as (zxid, path), oldest first."""
    found = [(zxid_of(path, kind), path) for path in directory.iterdir()]
    return sorted((zxid, path) for zxid, path in found if zxid >= 0)


def prepare_directory(parent: Path, what: str, *, create: bool) -> Path:
    """The version-2 directory in `parent`, there and writable. Raises UnusableDirectory."""
    directory = parent / VERSION_DIR
    if not directory.is_dir():
        if not create:
            raise UnusableDirectory(
                f"{what} {directory} does not exist and datadir.autocreate is false: create it, or fix the path"
            )
        try:
            directory.mkdir(parents=True)
        except OSError as error:
            raise UnusableDirectory(f"{what} {directory} cannot be created: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK | os.R_OK):
        raise UnusableDirectory(f"{what} {directory} is not readable and writable: check its owner and mode")
    return directory


def lock_directory(directory: Path) -> int:
    """Keep other zkpy servers off the directory; the descriptor holds the lock until it is closed.

    The file says which process that is, and stays: to remove it would let two servers lock two files of one name.
    Raises UnusableDirectory if another process has the lock.
    """
    path = directory / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UnusableDirectory(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise UnusableDirectory(
            f"{directory} is in use by another zkpy server (process {holder or 'unknown'}): stop that one, or give this"
            " one a data directory of its own"
        ) from None
    except OSError as error:
        os.close(fd)
        raise UnusableDirectory(f"{path} cannot be locked: {error.strerror}") from error
    return fd
