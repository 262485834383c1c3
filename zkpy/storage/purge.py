"""Deleting what no recovery needs any more. Source: PurgeTxnLog."""

from pathlib import Path

from zkpy.storage.files import list_files
from zkpy.storage.snapshots import find_snapshots


def purge(snap_dir: Path, log_dir: Path, keep: int) -> list[Path]:
    """Keep the `keep` newest snapshots (3 at least) and every log they may need; delete the others, and say which.

    The log with the greatest start at or below the oldest kept snapshot holds txns after it, so it stays.
    """
    kept = find_snapshots(snap_dir, max(3, keep))
    if not kept:
        return []
    oldest = kept[-1][0]
    logs = list_files(log_dir, "log")
    spanning = max((zxid for zxid, _ in logs if zxid <= oldest), default=oldest)
    doomed = [path for zxid, path in list_files(snap_dir, "snapshot") if zxid < oldest]
    doomed += [path for zxid, path in logs if zxid < spanning]
    for path in doomed:
        path.unlink(missing_ok=True)
    return doomed
