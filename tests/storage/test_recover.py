"""Recovery: every row of what may be found on a disk, and that no acknowledged write is lost in silence."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.storage.histories import History, dump
from zkpy.proto import opcodes
from zkpy.proto.records import CheckVersionTxn, CreateTxn, TxnHeader
from zkpy.storage.errors import DamagedLog, StorageError
from zkpy.storage.recover import Recovered, recover
from zkpy.storage.snapshots import SnapshotWriter, write_snapshot
from zkpy.storage.txnlog import TxnLog
from zkpy.tree.datatree import DataTree
from zkpy.tree.txns import encode_txn


def write_log(directory: Path, entries: list[tuple[int, bytes]]) -> Path:
    log = TxnLog(directory, pre_alloc_bytes=1 << 14, force_sync=False)
    for zxid, entry in entries:
        log.append(zxid, entry)
    log.commit(log.take())
    log.close()
    assert log.current_path is not None
    return log.current_path


def run(directory: Path, **options: Any) -> tuple[DataTree, Recovered]:
    tree = DataTree(extended_types=True)
    found = recover(tree, directory, options.pop("log_dir", directory), **options)
    tree.check()
    return tree, found


def empty_database(directory: Path) -> None:
    write_snapshot(directory, DataTree(extended_types=True))


def history_of(seed: int, steps: int) -> History:
    history = History(seed)
    for _ in range(steps):
        history.step()
    return history


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    directory = tmp_path / "version-2"
    directory.mkdir()
    return directory


# --- the way it should be ------------------------------------------------------------------------------------------


def test_an_empty_directory_is_a_new_database(version_2: Path) -> None:
    tree, found = run(version_2)
    assert found.is_new
    assert tree.last_zxid == 0
    assert tree.digest == 0x51C6D660
    assert found.notes == []


def test_the_logs_are_replayed_over_the_snapshot(version_2: Path) -> None:
    history = History(1)
    empty_database(version_2)
    for _ in range(3):
        for _ in range(100):
            history.step()
        write_log(version_2, history.entries[-100:])
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert (found.snapshot_zxid, found.replayed, found.digest_mismatches, found.notes) == (0, 300, 0, [])
    assert not found.is_new


def test_only_what_the_snapshot_lacks_is_replayed(version_2: Path) -> None:
    history = history_of(2, 100)
    write_snapshot(version_2, history.tree)
    for _ in range(50):
        history.step()
    write_log(version_2, history.entries)
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert (found.snapshot_zxid, found.replayed, found.notes) == (100, 50, [])


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("compression", ["", "gz", "snappy"])
def test_a_fuzzy_snapshot_and_its_logs_give_the_tree(version_2: Path, seed: int, compression: str) -> None:
    dice = random.Random(seed)
    history = history_of(seed, dice.randrange(200))
    empty_database(version_2)
    log = TxnLog(version_2, pre_alloc_bytes=0, force_sync=False)
    for entry in history.entries:
        log.append(*entry)
    writer = SnapshotWriter(version_2, history.tree, compression=compression)
    log.roll()
    start = len(history.entries)
    while not writer.step(dice.choice([1, 300, 3000])):
        for _ in range(dice.randrange(4)):
            history.step()
    for _ in range(dice.randrange(20)):
        history.step()
    for entry in history.entries[start:]:
        log.append(*entry)
    log.commit(log.take())
    log.close()
    writer.finish()
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert found.snapshot_zxid == start
    assert found.replayed == len(history.entries) - start
    assert (found.digest_mismatches, found.notes) == (0, [])
    # Until the snapshot was complete the digest was that of no tree: nobody may read it in the word hash.
    assert set(tree.digest_log) <= set(history.tree.digest_log)
    assert not tree.is_fuzzy


def test_recovering_twice_gives_the_same(version_2: Path) -> None:
    history = history_of(3, 150)
    empty_database(version_2)
    write_log(version_2, history.entries)
    assert dump(run(version_2)[0]) == dump(run(version_2)[0]) == dump(history.tree)


def test_long_replays_report_their_progress(version_2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkpy.storage.recover.PROGRESS_STEP", 40)
    history = history_of(4, 100)
    empty_database(version_2)
    write_log(version_2, history.entries)
    heard: list[int] = []
    tree, _ = run(version_2, progress=heard.append)
    assert heard == [40, 80]
    assert tree.take_changes() == []


# --- snapshots -----------------------------------------------------------------------------------------------------


def test_a_damaged_snapshot_gives_way_to_an_older_one(version_2: Path) -> None:
    history = history_of(5, 100)
    write_snapshot(version_2, history.tree)
    for _ in range(60):
        history.step()
    newest = write_snapshot(version_2, history.tree)
    write_log(version_2, history.entries)
    data = bytearray(newest.read_bytes())
    # Deep inside, so that much of it has been loaded before the seal tells.
    data[-100] ^= 1
    newest.write_bytes(data)
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert found.snapshot_zxid == 100
    assert len(found.notes) == 1
    assert newest.name in found.notes[0]


def test_a_half_written_snapshot_is_nothing_and_is_removed(version_2: Path) -> None:
    history = history_of(6, 100)
    write_snapshot(version_2, history.tree)
    whole = sorted(os.listdir(version_2))
    for _ in range(10):
        history.step()
    writer = SnapshotWriter(version_2, history.tree)
    writer.step(2000)
    writer._file.close()  # as a crash would leave it
    write_log(version_2, history.entries)
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert found.snapshot_zxid == 100
    assert sorted(os.listdir(version_2)) == sorted([*whole, "log.1"])


def test_a_snapshot_that_apache_left_half_written_is_passed_over(version_2: Path) -> None:
    history = history_of(7, 50)
    path = write_snapshot(version_2, history.tree)
    for cut in (5, 100, 1000):
        (version_2 / f"snapshot.{100 + cut:x}").write_bytes(path.read_bytes()[:cut])
    write_log(version_2, history.entries)
    assert dump(run(version_2)[0]) == dump(history.tree)


def test_snapshots_of_which_none_loads_are_refused(version_2: Path) -> None:
    for zxid in (1, 2):
        (version_2 / f"snapshot.{zxid}").write_bytes(b"not a snapshot\0\0\0\1/")
    with pytest.raises(StorageError, match=r"none of 2 snapshots can be loaded.*snapshot\.2.*backup"):
        run(version_2)


def test_logs_without_any_snapshot_are_refused_unless_trusted(version_2: Path) -> None:
    history = history_of(8, 50)
    write_log(version_2, history.entries)
    with pytest.raises(StorageError, match=r"No snapshot found, but there are log entries.*trust\.empty"):
        run(version_2)
    tree, found = run(version_2, trust_empty=True)
    assert dump(tree) == dump(history.tree)
    assert found.snapshot is None
    assert not found.is_new


def test_logs_without_records_do_not_count(version_2: Path) -> None:
    history = history_of(8, 5)
    path = write_log(version_2, history.entries)
    path.write_bytes(path.read_bytes()[:40])
    assert run(version_2)[1].is_new


def test_an_empty_database_can_be_forbidden(version_2: Path) -> None:
    with pytest.raises(StorageError, match=r"db\.autocreate is false.*initialize"):
        run(version_2, db_autocreate=False)
    (version_2.parent / "initialize").touch()
    assert run(version_2, db_autocreate=False)[1].is_new
    assert not (version_2.parent / "initialize").exists()


# --- logs ----------------------------------------------------------------------------------------------------------


def test_a_torn_tail_loses_only_what_it_tore(version_2: Path) -> None:
    history = history_of(9, 100)
    empty_database(version_2)
    path = write_log(version_2, history.entries)
    used = 16 + sum(13 + len(entry) for _, entry in history.entries)
    path.write_bytes(path.read_bytes()[: used - 1])
    tree, found = run(version_2)
    assert (tree.last_zxid, found.replayed, found.notes) == (99, 99, [])
    # Life goes on in a new file, and the torn one is read again at each start.
    write_log(version_2, history.entries[99:])
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)


def test_damage_in_the_middle_is_refused(version_2: Path) -> None:
    history = history_of(10, 100)
    empty_database(version_2)
    path = write_log(version_2, history.entries)
    data = bytearray(path.read_bytes())
    data[16 + sum(13 + len(entry) for _, entry in history.entries[:50]) + 12 + 35] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedLog, match=r"log\.1, offset \d+: the checksum .* seems to be 0x33"):
        run(version_2)


def test_an_empty_newest_log_is_removed(version_2: Path) -> None:
    history = history_of(11, 20)
    empty_database(version_2)
    write_log(version_2, history.entries)
    (version_2 / "log.15").touch()
    assert dump(run(version_2)[0]) == dump(history.tree)
    assert not (version_2 / "log.15").exists()


def test_an_empty_log_between_others_is_refused(version_2: Path) -> None:
    history = history_of(11, 20)
    empty_database(version_2)
    write_log(version_2, history.entries[:10])
    write_log(version_2, history.entries[15:])
    (version_2 / "log.b").touch()
    with pytest.raises(DamagedLog, match=r"log\.b, offset 0: the header is cut short"):
        run(version_2)


def test_a_hole_among_the_txns_is_refused(version_2: Path) -> None:
    history = history_of(12, 30)
    empty_database(version_2)
    write_log(version_2, history.entries[:10])
    path = write_log(version_2, history.entries[11:])
    with pytest.raises(DamagedLog, match=r"log\.c, offset 16: txn 0xc follows 0xa: the txns between them are missing"):
        run(version_2)
    path.unlink()
    assert run(version_2)[0].last_zxid == 10


def test_a_gap_behind_the_snapshot_is_noted(version_2: Path) -> None:
    history = history_of(13, 30)
    empty_database(version_2)
    write_log(version_2, history.entries[5:])
    _, found = run(version_2)
    assert found.replayed == 25
    assert "the first txn after snapshot 0x0 is 0x6" in found.notes[0]


def test_a_new_epoch_is_no_hole(version_2: Path) -> None:
    history = history_of(14, 10)
    empty_database(version_2)
    history.zxid = 5 << 32
    for _ in range(10):
        history.step()
    write_log(version_2, history.entries)
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert found.notes == []


def test_txns_that_come_again_are_applied_again(version_2: Path) -> None:
    history = History(15)
    for n in range(20):
        history.create(f"/{n}")
    empty_database(version_2)
    write_log(version_2, history.entries[:15])
    write_log(version_2, history.entries[10:])
    tree, found = run(version_2)
    assert dump(tree)["nodes"] == dump(history.tree)["nodes"]
    assert len(found.notes) == 2
    assert "log.b, offset 16: txn 0xb comes after 0xf" in found.notes[0]
    assert "5 txns came out of order" in found.notes[1]


def test_a_txn_that_no_server_may_apply_is_refused(version_2: Path) -> None:
    empty_database(version_2)
    check = encode_txn(TxnHeader(0, 0, 1, 0, opcodes.CHECK), CheckVersionTxn("/a", 1), None)
    write_log(version_2, [(1, check)])
    with pytest.raises(DamagedLog, match=r"log\.1, offset 16: txn 0x1 cannot be read: .*unsupported type of txn 13"):
        run(version_2)


def test_a_txn_that_cannot_be_applied_is_refused(version_2: Path) -> None:
    empty_database(version_2)
    pathless = encode_txn(TxnHeader(0, 0, 1, 0, opcodes.CREATE), CreateTxn("no slash", b"", [], False, 1), None)
    write_log(version_2, [(1, pathless)])
    with pytest.raises(DamagedLog, match=r"txn 0x1 cannot be applied"):
        run(version_2)


# --- digests and sessions ------------------------------------------------------------------------------------------


def test_a_digest_that_does_not_match_is_counted_and_noted_once(version_2: Path) -> None:
    history = history_of(16, 20)
    history.tree.digest ^= 1
    for _ in range(5):
        history.create(f"/x{history.zxid}")
    history.tree.digest ^= 1
    empty_database(version_2)
    write_log(version_2, history.entries)
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert found.digest_mismatches == 5
    assert len(found.notes) == 1
    assert "Digests are not matching" in found.notes[0]
    assert "0x15" in found.notes[0]


def test_the_snapshots_own_digest_is_compared(version_2: Path) -> None:
    history = history_of(17, 20)
    history.tree.digest ^= 1
    write_snapshot(version_2, history.tree)
    _, found = run(version_2)
    assert found.digest_mismatches == 1
    assert "the snapshot" in found.notes[0]


def test_a_snapshot_of_a_fuzzy_tree_has_no_digest_and_those_of_txns_count_from_the_first_right_one_on(
    version_2: Path,
) -> None:
    history = history_of(23, 120)
    history.tree.is_fuzzy = True
    write_snapshot(version_2, history.tree)
    history.tree.is_fuzzy = False
    # Applied already when the image came to their nodes: the trees of these digests never were here.
    history.tree.digest += 1
    while history.zxid < 130:
        history.step()
    history.tree.digest -= 1
    for _ in range(3):
        history.create(f"/x{history.zxid}")
    history.tree.digest += 1
    history.create("/last")
    history.tree.digest -= 1
    write_log(version_2, history.entries[120:])
    tree, found = run(version_2)
    assert dump(tree) == dump(history.tree)
    assert found.digest_mismatches == 1
    assert "txn 0x86" in found.notes[0]
    assert not tree.digest_log
    assert not tree.is_fuzzy


def test_digests_are_not_compared_by_who_has_them_off(version_2: Path) -> None:
    history = history_of(18, 50)
    write_snapshot(version_2, history.tree)
    for _ in range(50):
        history.step()
    write_log(version_2, history.entries)
    tree = DataTree(extended_types=True, digest_enabled=False)
    assert recover(tree, version_2, version_2).digest_mismatches == 0
    assert dump(tree)["nodes"] == dump(history.tree)["nodes"]


def test_logs_that_end_before_the_snapshot_was_complete_are_noted(version_2: Path) -> None:
    history = history_of(19, 50)
    writer = SnapshotWriter(version_2, history.tree)
    for _ in range(10):
        history.step()
    assert writer.step(1 << 20)
    writer.finish()
    write_log(version_2, history.entries[:55])
    _, found = run(version_2)
    assert "the logs end with txn 0x37, but the snapshot was completed at 0x3c" in found.notes[0]


def test_ephemerals_of_sessions_that_are_gone_are_removed(version_2: Path) -> None:
    history = History(20)
    history.open_session(7)
    history.create("/mine", b"", session_id=7)
    history.create("/theirs", b"", session_id=8)
    write_snapshot(version_2, history.tree)
    tree, found = run(version_2)
    assert "/mine" in tree.nodes
    assert "/theirs" not in tree.nodes
    assert found.is_repaired
    assert "session 0x8" in found.notes[0]
    assert tree.take_changes() == []


# --- two directories -----------------------------------------------------------------------------------------------


def test_snapshots_and_logs_may_live_apart(version_2: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs" / "version-2"
    logs.mkdir(parents=True)
    history = history_of(21, 30)
    empty_database(version_2)
    write_log(logs, history.entries)
    assert dump(run(version_2, log_dir=logs)[0]) == dump(history.tree)
    write_log(version_2, history.entries)
    with pytest.raises(StorageError, match=r"dataDir .* holds log\.1"):
        run(version_2, log_dir=logs)
    (version_2 / "log.1").unlink()
    empty_database(logs)
    with pytest.raises(StorageError, match=r"dataLogDir .* holds snapshot\.0"):
        run(version_2, log_dir=logs)
