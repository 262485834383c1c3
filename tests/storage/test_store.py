"""A data directory in use: made, locked, recovered, written and recovered again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.storage.histories import History, dump
from zkpy.storage import StorageError, Store, StoreOptions, UnusableDirectory


def options(data_dir: Path, **fields: Any) -> StoreOptions:
    return StoreOptions(**{"data_dir": data_dir, "data_log_dir": data_dir, "extended_types": True, **fields})


def write(store: Store, history: History, count: int) -> None:
    for _ in range(count):
        history.step()
        store.log.append(*history.entries[-1])
    store.log.commit(store.log.take())


def test_a_new_database_has_a_snapshot_before_its_first_txn(tmp_path: Path) -> None:
    with Store(options(tmp_path / "not" / "there")) as store:
        assert store.recovered.is_new
        assert sorted(os.listdir(tmp_path / "not" / "there" / "version-2")) == [".zkpy.lock", "snapshot.0"]


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    history = History(1)
    for _ in range(4):
        with Store(options(tmp_path, pre_alloc=1 << 16)) as store:
            assert dump(store.tree) == dump(history.tree)
            write(store, history, 30)
    names = sorted(os.listdir(tmp_path / "version-2"))
    assert names == [".zkpy.lock", "log.1", "log.1f", "log.3d", "log.5b", "snapshot.0"]


def test_a_snapshot_begins_a_new_log(tmp_path: Path) -> None:
    history = History(2)
    with Store(options(tmp_path, pre_alloc=0)) as store:
        write(store, history, 10)
        store.tree = history.tree
        writer = store.begin_snapshot()
        while not writer.step(500):
            write(store, history, 1)
        writer.finish()
        write(store, history, 5)
        assert store.log.current_path == tmp_path / "version-2" / "log.b"
    with Store(options(tmp_path)) as store:
        assert store.recovered.snapshot_zxid == 10
        assert store.recovered.notes == []
        assert dump(store.tree) == dump(history.tree)


@pytest.mark.parametrize("compression", ["gz", "snappy"])
def test_snapshots_are_compressed_as_configured(tmp_path: Path, compression: str) -> None:
    with Store(options(tmp_path, compression=compression)):
        assert (tmp_path / "version-2" / f"snapshot.0.{compression}").exists()
    with Store(options(tmp_path)) as store:
        assert not store.recovered.is_new


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    with Store(options(tmp_path)):
        with pytest.raises(UnusableDirectory, match="is in use by another zkpy server"):
            Store(options(tmp_path))
        program = (
            "import sys\nfrom pathlib import Path\nfrom zkpy.storage import *\n"
            "try:\n    Store(StoreOptions(Path(sys.argv[1]), Path(sys.argv[1])))\n"
            "except StorageError as error:\n    print(error)\n"
        )
        out = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True, text=True, timeout=30
        )
        assert "is in use by another zkpy server" in out.stdout
    Store(options(tmp_path)).close()


def test_a_log_directory_in_use_is_refused(tmp_path: Path) -> None:
    with Store(options(tmp_path / "a", data_log_dir=tmp_path / "logs")):
        with pytest.raises(UnusableDirectory, match="logs/version-2 is in use"):
            Store(options(tmp_path / "b", data_log_dir=tmp_path / "logs"))
        # The refused one holds nothing.
        Store(options(tmp_path / "b")).close()


def test_one_directory_under_two_names_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with Store(options(tmp_path / "real", data_log_dir=tmp_path / "link")) as store:
        assert store.log_dir == store.snap_dir


def test_a_missing_directory_is_not_made_when_that_is_forbidden(tmp_path: Path) -> None:
    with pytest.raises(UnusableDirectory, match=r"dataDir .* does not exist and datadir\.autocreate is false"):
        Store(options(tmp_path, autocreate=False))
    assert os.listdir(tmp_path) == []


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableDirectory, match="cannot be created: Not a directory"):
        Store(options(tmp_path / "file"))
    (tmp_path / "version-2").touch()
    with pytest.raises(UnusableDirectory, match="cannot be created: File exists"):
        Store(options(tmp_path))


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version-2").mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write anywhere
        monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(UnusableDirectory, match="not readable and writable"):
        Store(options(tmp_path))


def test_a_failed_recovery_leaves_the_directory_unlocked(tmp_path: Path) -> None:
    directory = tmp_path / "version-2"
    directory.mkdir()
    (directory / "snapshot.5").write_bytes(b"not a snapshot\0\0\0\1/")
    with pytest.raises(StorageError):
        Store(options(tmp_path))
    (directory / "snapshot.5").unlink()
    Store(options(tmp_path)).close()


def test_a_repaired_tree_is_written_at_once(tmp_path: Path) -> None:
    history = History(3)
    history.create("/theirs", b"", session_id=8)
    with Store(options(tmp_path)) as store:
        store.log.append(*history.entries[0])
        store.log.commit(store.log.take())
    with Store(options(tmp_path)) as store:
        assert "/theirs" not in store.tree.nodes
        assert (tmp_path / "version-2" / "snapshot.1").exists()
    with Store(options(tmp_path)) as store:
        assert "/theirs" not in store.tree.nodes
        assert store.recovered.notes == []


def test_snapshots_come_between_half_and_all_of_snap_count(tmp_path: Path) -> None:
    with Store(options(tmp_path, snap_count=100)) as store:
        waits = []
        count = 0
        for _ in range(20_000):
            count += 1
            if store.wants_snapshot(1, 50):
                waits.append(count)
                count = 0
        assert 50 < min(waits) < 70
        assert 80 < max(waits) <= 100


def test_snapshots_come_by_size_too(tmp_path: Path) -> None:
    with Store(options(tmp_path, snap_size_limit=1000)) as store:
        waits = []
        size = 0
        for _ in range(5000):
            size += 10
            if store.wants_snapshot(1, 10):
                waits.append(size)
                size = 0
        assert min(waits) > 500
        assert max(waits) <= 1010
    with Store(options(tmp_path, snap_size_limit=0)) as store:
        assert not any(store.wants_snapshot(1, 1 << 30) for _ in range(1000))


def test_sizes_and_purge_reach_the_files(tmp_path: Path) -> None:
    history = History(4)
    with Store(options(tmp_path, pre_alloc=0)) as store:
        store.tree = history.tree
        for _ in range(5):
            write(store, history, 5)
            writer = store.begin_snapshot()
            assert writer.step(1 << 20)
            writer.finish()
        assert store.sizes() == (store.sizes()[0],) * 2
        before = store.sizes()[0]
        gone = store.purge(3)
        assert sorted(path.name for path in gone) == ["log.1", "log.6", "snapshot.0", "snapshot.5", "snapshot.a"]
        assert store.sizes()[0] < before
