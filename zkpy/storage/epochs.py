"""acceptedEpoch and currentEpoch: what a member has promised, beside its snapshots.

    acceptedEpoch    the greatest epoch that a leader was promised; none of an older one is followed any more
    currentEpoch     the epoch whose leader's history this is

Each file holds one decimal number. It is replaced at once or not at all: written beside, synced, renamed. Law: accepted
is never less than current, after any crash. Sources: QuorumPeer.loadDataBase, AtomicFileWritingIdiom.
"""

import os
import re
from pathlib import Path
from typing import Final

from zkpy.proto.zxid import epoch_of
from zkpy.storage.errors import StorageError
from zkpy.storage.files import sync_directory, write_all

ACCEPTED: Final = "acceptedEpoch"
CURRENT: Final = "currentEpoch"
_NUMBER: Final = re.compile("[0-9]{1,19}")


class Epochs:
    """The two files of one directory, and what they say."""

    __slots__ = ("_directory", "accepted", "current")

    def __init__(self, directory: Path, last_zxid: int) -> None:
        """Read both; one that is missing begins with the epoch of `last_zxid`. Raises StorageError.

        A last txn of a later epoch than the current one is no fault: a crash came between the log and the file.
        """
        self._directory = directory
        current = self._read(CURRENT)
        accepted = self._read(ACCEPTED)
        #: What is on disk now; -1 for no file.
        self.current = -1 if current is None else current
        self.accepted = -1 if accepted is None else accepted
        epoch = max(0, epoch_of(last_zxid))
        if current is None:
            current = epoch
        if accepted is None:
            accepted = current
        if accepted < current:
            raise StorageError(
                f"{directory}: {ACCEPTED} is {accepted}, which is less than {CURRENT}, {current}: one of the two files"
                f" is not of this server; if the rest of the directory is, write {current} into {ACCEPTED}"
            )
        # Nobody is followed into an epoch that the history has left behind, whatever became of the promise.
        self.write(max(accepted, epoch), current)

    def write(self, accepted: int, current: int) -> None:
        """Make both files say this, durably. Raises OSError."""
        if accepted != self.accepted:
            self._replace(ACCEPTED, accepted)
            self.accepted = accepted
        if current != self.current:
            self._replace(CURRENT, current)
            self.current = current

    def announce(self, current: int) -> None:
        """Leave a durable word that `current` is to come, before the log has txns of that epoch.

        Apache's server refuses a log that is ahead of currentEpoch, unless it finds currentEpoch.tmp.
        """
        if current != self.current:
            self._write(self._directory / f"{CURRENT}.tmp", current)
            sync_directory(self._directory)

    def _read(self, name: str) -> int | None:
        path = self._directory / name
        try:
            text = path.read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        if _NUMBER.fullmatch(text) is None:
            raise StorageError(
                f"{path} should hold an epoch, a whole number, and holds {text[:20]!r}: restore it from a backup, or"
                " empty the data directory to get everything from the leader"
            )
        return int(text)

    def _replace(self, name: str, epoch: int) -> None:
        path = self._directory / name
        unfinished = self._directory / f"{name}.tmp"
        self._write(unfinished, epoch)
        unfinished.rename(path)
        sync_directory(self._directory)

    def _write(self, path: Path, epoch: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(fd, b"%d" % epoch, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
