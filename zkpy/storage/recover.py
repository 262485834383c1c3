"""Disk → tree at start: the newest snapshot that loads, and every txn after it.

    snapshots, newest first ─→ the first that loads ─→ replay of all logs from its zxid on ─→ the tree
    no snapshot, no log     ─→ a new database          no snapshot, but logs ─→ refused (or trusted, if so configured)

Sources: FileTxnSnapLog.restore, ZKDatabase, ZooKeeperServer.loadData.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from jute import JuteError
from jute.wire import DEFAULT_MAX_LENGTH
from zkpy.proto.zxid import epoch_of
from zkpy.storage.errors import DamagedLog, DamagedSnapshot, StorageError
from zkpy.storage.files import list_files
from zkpy.storage.snapshots import UNFINISHED, find_snapshots, load_snapshot
from zkpy.storage.txnlog import read_from, read_log
from zkpy.tree.datatree import DataTree
from zkpy.tree.prepared import PreparedCreate, PreparedSet
from zkpy.tree.txns import TXN_HEADER, decode_txn
from zkpy.tree.usual import prepare_usual

#: The file that says that an empty database is meant (zookeeper.db.autocreate).
INITIALIZE: Final = "initialize"
#: Txns replayed between two reports of progress.
PROGRESS_STEP: Final = 100_000


@attrs.define
class Recovered:
    """What recovery found: how far the tree is, and what an operator should hear of."""

    snapshot: Path | None = None
    snapshot_zxid: int = 0
    replayed: int = 0
    digest_mismatches: int = 0
    #: There was neither a snapshot nor a txn.
    is_new: bool = False
    #: The tree is not what snapshot and logs say: a snapshot is due before the next txn.
    is_repaired: bool = False
    notes: list[str] = attrs.field(factory=list)


def recover(
    tree: DataTree,
    snap_dir: Path,
    log_dir: Path,
    *,
    trust_empty: bool = False,
    db_autocreate: bool = True,
    limit: int = DEFAULT_MAX_LENGTH,
    progress: Callable[[int], None] = lambda replayed: None,
) -> Recovered:
    """Bring the (empty) tree to the state on disk. Raises StorageError if that cannot be done without losing writes.

    `trust_empty`: replay logs even without any snapshot. `db_autocreate` off: an empty directory is a mistake, unless a
    file `initialize` beside version-2 says otherwise (it is deleted). `limit` is the longest record believed, in bytes;
    `progress` hears how many txns are replayed.
    """
    _refuse_misplaced(snap_dir, log_dir)
    for path in snap_dir.iterdir():
        if path.name.startswith(UNFINISHED):
            path.unlink()
    found = Recovered()
    initialize = log_dir.parent / INITIALIZE
    may_create = db_autocreate or initialize.exists()
    digest = _load_newest(tree, snap_dir, found)
    _drop_empty_newest(log_dir)
    if found.snapshot is None:
        has_txns = any(True for _, path in list_files(log_dir, "log") for _ in read_log(path, limit))
        if has_txns and not trust_empty:
            raise StorageError(
                f"{snap_dir}: No snapshot found, but there are log entries in {log_dir}: restore the snapshots that"
                " belong to them; or, if the logs are known to begin with the first txn (a directory of 3.4), start"
                " once with snapshot.trust.empty=true"
            )
        found.is_new = not has_txns
        if found.is_new and not may_create:
            raise StorageError(
                f"{snap_dir} is empty and db.autocreate is false: if it should be empty, create the file {initialize};"
                " if not, restore the snapshots and logs that belong here"
            )
    initialize.unlink(missing_ok=True)
    _replay(tree, log_dir, limit, digest, found, progress)
    for session_id in tree.sessions.orphans():
        found.notes.append(f"session {session_id & (1 << 64) - 1:#x} owns ephemerals but is gone: they are removed")
        tree.drop_ephemerals(session_id)
        found.is_repaired = True
    return found


def _refuse_misplaced(snap_dir: Path, log_dir: Path) -> None:
    if snap_dir == log_dir:
        return
    for directory, kind, what in ((log_dir, "snapshot", "dataLogDir"), (snap_dir, "log", "dataDir")):
        misplaced = list_files(directory, kind)
        if misplaced:
            raise StorageError(
                f"{what} {directory} holds {misplaced[0][1].name}: with two directories it must hold no {kind} files;"
                " move them to the other one"
            )


def _load_newest(tree: DataTree, snap_dir: Path, found: Recovered) -> tuple[int, int] | None:
    """Load the newest snapshot that is whole; its (zxid, digest), if it has one."""
    candidates = find_snapshots(snap_dir)
    for zxid, path in candidates:
        try:
            loaded = load_snapshot(zxid, path, tree)
        except DamagedSnapshot as error:
            found.notes.append(f"a snapshot cannot be loaded: {error}")
            continue
        found.snapshot = path
        found.snapshot_zxid = zxid
        return loaded.digest
    if candidates:
        raise StorageError(
            f"{snap_dir}: none of {len(candidates)} snapshots can be loaded ({found.notes[0]}): restore one from a"
            " backup, or take the data directory of another member"
        )
    tree.clear()
    tree.finish_load()
    return None


def _drop_empty_newest(log_dir: Path) -> None:
    """A crash right after a log was created leaves it empty: as good as not there."""
    files = list_files(log_dir, "log")
    if files and files[-1][1].stat().st_size == 0:
        files[-1][1].unlink()


def _replay(
    tree: DataTree,
    log_dir: Path,
    limit: int,
    digest: tuple[int, int] | None,
    found: Recovered,
    progress: Callable[[int], None],
) -> None:
    """Apply every txn after the snapshot, checking that none is missing and that digests agree."""
    # Until the replay has passed the txn at which the (fuzzy) snapshot was completed, digests mean nothing. Where that
    # is not known (a leader sent it, or a server without digests wrote it), they do from the first right one on.
    fuzzy_until = digest[0] if digest is not None else found.snapshot_zxid
    is_known = digest is not None or not found.snapshot_zxid
    tree.is_fuzzy = not is_known or tree.last_zxid < fuzzy_until
    if digest is not None and digest[0] == tree.last_zxid:
        _compare(tree, digest[1], "the snapshot", found)
    last = tree.last_zxid
    repeated = 0
    tree.tracks_changes = False  # nobody watches yet
    for zxid, path, offset, entry in read_from(log_dir, last + 1, limit):
        if is_known:
            tree.is_fuzzy = zxid < fuzzy_until
        client_id, _, _, time_ms, type_ = TXN_HEADER.unpack_from(entry)
        usual = prepare_usual(tree, entry, client_id, zxid, time_ms, type_)
        if usual is None:
            try:
                header, txn, after = decode_txn(entry)
            except JuteError as error:
                raise DamagedLog(path, offset, f"txn {zxid:#x} cannot be read: {error}") from error
        if zxid > last + 1 and epoch_of(zxid) == epoch_of(last):
            if found.replayed:
                raise DamagedLog(path, offset, f"txn {zxid:#x} follows {last:#x}: the txns between them are missing")
            found.notes.append(
                f"{path}: the first txn after snapshot {last:#x} is {zxid:#x}: a log file seems to be missing"
            )
        elif zxid <= last:
            if not repeated:
                found.notes.append(
                    f"{path}, offset {offset}: txn {zxid:#x} comes after {last:#x}; applied all the same"
                )
            repeated += 1
        if usual is None:
            try:
                tree.apply(header, txn)
            except ValueError as error:  # JuteError is one
                raise DamagedLog(path, offset, f"txn {zxid:#x} cannot be applied: {error}") from error
        else:
            prepared, digest_then, after = usual
            if type(prepared) is PreparedCreate:
                tree.add(prepared, digest_then)
            elif type(prepared) is PreparedSet:
                tree.put(prepared, digest_then)
        found.replayed += 1
        if digest is not None and zxid == digest[0]:
            _compare(tree, digest[1], "the snapshot", found)
        elif after is not None and zxid > fuzzy_until and zxid > last:
            if not is_known:
                is_known = tree.digest == after
            if is_known:
                _compare(tree, after, f"txn {zxid:#x}", found)
        last = max(last, zxid)
        if not found.replayed % PROGRESS_STEP:
            progress(found.replayed)
    tree.tracks_changes = True
    if digest is not None and last < digest[0]:
        found.notes.append(
            f"{log_dir}: the logs end with txn {last:#x}, but the snapshot was completed at {digest[0]:#x}: some of"
            " the logs are missing or damaged, and the tree may be inconsistent"
        )
    if repeated > 1:
        found.notes.append(f"{log_dir}: {repeated} txns came out of order")


def _compare(tree: DataTree, expected: int, whose: str, found: Recovered) -> None:
    if tree.digest_enabled and tree.digest != expected:
        found.digest_mismatches += 1
        if found.digest_mismatches == 1:
            found.notes.append(
                f"Digests are not matching: {whose} says {expected}, the tree has {tree.digest}"
                f" at zxid {tree.last_zxid:#x}"
            )
