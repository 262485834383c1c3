"""Purging: whatever is kept can still be recovered from, and nothing else is kept."""

import os
import random
from pathlib import Path

import pytest

from tests.storage.histories import History, dump
from zkpy.storage.purge import purge
from zkpy.storage.recover import recover
from zkpy.storage.snapshots import write_snapshot
from zkpy.storage.txnlog import TxnLog
from zkpy.tree.datatree import DataTree


def touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"12345\0\0\0\1/")


def purged(directory: Path, keep: int = 3) -> list[str]:
    return sorted(path.name for path in purge(directory, directory, keep))


def test_old_snapshots_and_the_logs_below_them_go(tmp_path: Path) -> None:
    touch(tmp_path, *(f"snapshot.{n}" for n in (10, 20, 30, 40, 50)), *(f"log.{n}" for n in (1, 11, 21, 31, 41, 51)))
    assert purged(tmp_path) == ["log.1", "log.11", "snapshot.10", "snapshot.20"]


def test_the_log_that_spans_the_oldest_kept_snapshot_stays(tmp_path: Path) -> None:
    # Txn 30 may be in log.21, and so may every txn up to 40: log.41 begins behind them.
    touch(tmp_path, *(f"snapshot.{n}" for n in (10, 20, 30, 40, 50)), "log.1", "log.21", "log.41")
    assert purged(tmp_path) == ["log.1", "snapshot.10", "snapshot.20"]


def test_a_log_that_begins_with_the_kept_snapshot_is_the_one_that_spans_it(tmp_path: Path) -> None:
    touch(tmp_path, *(f"snapshot.{n}" for n in (10, 20, 30, 40, 50)), "log.21", "log.30", "log.41")
    assert purged(tmp_path) == ["log.21", "snapshot.10", "snapshot.20"]


def test_fewer_than_three_are_never_kept(tmp_path: Path) -> None:
    touch(tmp_path, *(f"snapshot.{n}" for n in (1, 2, 3, 4)))
    assert purged(tmp_path, 1) == ["snapshot.1"]


def test_damaged_snapshots_do_not_count_but_go_when_old(tmp_path: Path) -> None:
    touch(tmp_path, *(f"snapshot.{n}" for n in (1, 2, 3, 4, 5)))
    (tmp_path / "snapshot.4").write_bytes(b"")
    (tmp_path / "snapshot.1").write_bytes(b"")
    assert purged(tmp_path) == ["snapshot.1"]
    assert (tmp_path / "snapshot.4").exists()


def test_compressed_snapshots_count(tmp_path: Path) -> None:
    touch(tmp_path, "snapshot.1", "snapshot.2", "log.1")
    (tmp_path / "snapshot.3.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "snapshot.4.snappy").write_bytes(b"\x82SNAPPY\0")
    assert purged(tmp_path) == ["snapshot.1"]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    touch(tmp_path, *(f"snapshot.{n}" for n in (5, 6, 7, 8)))
    touch(tmp_path, "currentEpoch", "acceptedEpoch", ".zkpy.lock", "log.txt", "snapshot.old", "notes")
    assert purged(tmp_path) == ["snapshot.5"]


def test_without_a_snapshot_nothing_goes(tmp_path: Path) -> None:
    touch(tmp_path, "log.1", "log.2", "log.3", "log.4")
    assert purged(tmp_path) == []


def test_the_two_directories_are_purged_each(tmp_path: Path) -> None:
    snaps, logs = tmp_path / "snaps", tmp_path / "logs"
    snaps.mkdir()
    logs.mkdir()
    touch(snaps, *(f"snapshot.{n}" for n in (10, 20, 30, 40)))
    touch(logs, "log.1", "log.11", "log.21")
    assert [path.name for path in purge(snaps, logs, 3)] == ["snapshot.10", "log.1"]
    assert sorted(os.listdir(logs)) == ["log.11", "log.21"]


@pytest.mark.parametrize("seed", range(10))
def test_every_kept_snapshot_can_be_recovered_from(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    history = History(seed)
    log = TxnLog(tmp_path, pre_alloc_bytes=0, force_sync=False)
    write_snapshot(tmp_path, history.tree)
    for _ in range(7):
        for _ in range(dice.randrange(1, 40)):
            history.step()
            log.append(*history.entries[-1])
        if dice.random() < 0.6:
            log.roll()
        for _ in range(dice.randrange(4)):  # logged, and applied only after the snapshot has begun
            history.step()
            log.append(*history.entries[-1])
        write_snapshot(tmp_path, history.tree)
        if dice.random() < 0.3:
            log.roll()
    log.commit(log.take())
    log.close()
    purge(tmp_path, tmp_path, 3)
    kept = sorted(tmp_path.glob("snapshot.*"), key=lambda path: -int(path.name[9:], 16))
    assert len(kept) == 3
    for newest in kept:
        tree = DataTree(extended_types=True)
        found = recover(tree, tmp_path, tmp_path)
        assert found.snapshot == newest
        assert found.notes == []
        assert dump(tree) == dump(history.tree)
        newest.unlink()
