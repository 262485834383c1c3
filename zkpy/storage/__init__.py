"""The disk: log, snapshots, recovery. Blocking files and no Trio; Apache's formats, both ways.

    version-2/snapshot.<zxid>   the tree, as it was while it was written (fuzzy)        `snapshots.py`
    version-2/log.<zxid>        every txn from that zxid on, synced before it is answered `txnlog.py`
    version-2/acceptedEpoch, currentEpoch    a member's promises                          `epochs.py`

Read in this order: `store.py` (a directory in use), `recover.py` (disk → tree), `txnlog.py`, `history.py` (the log as
a member needs it), `epochs.py`, `snapshots.py`, `purge.py`, `files.py` (what is done to files), `snappy.py`,
`errors.py`.
"""

from zkpy.storage.epochs import Epochs
from zkpy.storage.errors import DamagedLog, DamagedSnapshot, StorageError, UnusableDirectory
from zkpy.storage.history import LogReader
from zkpy.storage.snapshots import SnapshotWriter
from zkpy.storage.store import Store, StoreOptions

__all__ = [
    "DamagedLog",
    "DamagedSnapshot",
    "Epochs",
    "LogReader",
    "SnapshotWriter",
    "StorageError",
    "Store",
    "StoreOptions",
    "UnusableDirectory",
]
