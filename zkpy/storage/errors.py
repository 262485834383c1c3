"""Why a data directory cannot be used. Each text names the file, the offset where there is one, and what to do."""

from pathlib import Path


class StorageError(Exception):
    """A data directory cannot be used as it is."""


class UnusableDirectory(StorageError):
    """A directory is missing, not ours to write, in use, or holds what does not belong there."""


class DamagedLog(StorageError):
    """A txn log is damaged in its middle: what follows the damage was acknowledged, so it is not skipped in silence."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(
            f"{path}, offset {offset}: {what}. The txns from there on cannot be read. Restore the file from a backup or"
            " take the data directory of another member; or, to give up every write from that txn on, move this file"
            " and all newer logs away and start again"
        )
        self.path = path
        self.offset = offset


class DamagedSnapshot(StorageError):
    """A snapshot cannot be loaded; an older one may do."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what
