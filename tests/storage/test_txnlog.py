"""The txn log: its bytes, what is found again after every kind of damage, and cutting it."""

import os
import random
import threading
from pathlib import Path
from typing import Any
from zlib import adler32

import pytest

from tests.storage.histories import History
from zkpy.storage import txnlog
from zkpy.storage.errors import DamagedLog
from zkpy.storage.txnlog import TxnLog, read_from, read_log

KNOWN_LOG = bytes.fromhex(
    "5a4b4c47 00000002 0000000000000000"
    "00000000a3370966 00000030 0100000804b30000 00000000 0000000000000001 000001a2070a91e6 fffffff6"
    "00002710 00000002 0000000051c6d660 42"
)


def entry_of(zxid: int, size: int = 40) -> bytes:
    return b"\1" * 12 + zxid.to_bytes(8, "big") + b"\2" * (size - 20)


def write_log(directory: Path, *zxids: int, **options: Any) -> Path:
    """A log of its own with these txns; its path."""
    log = TxnLog(directory, **{"pre_alloc_bytes": 0, **options})
    for zxid in zxids:
        log.append(zxid, entry_of(zxid))
    log.commit(log.take())
    log.close()
    path = log.current_path
    assert path is not None
    return path


def zxids_of(path: Path) -> list[int]:
    return [zxid for zxid, _, _ in read_log(path)]


def all_zxids(directory: Path, zxid: int = 0) -> list[int]:
    return [found for found, _, _, _ in read_from(directory, zxid)]


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_log_begins_with_the_known_bytes(tmp_path: Path) -> None:
    log = TxnLog(tmp_path)
    log.append(1, KNOWN_LOG[28:-1])
    log.commit(log.take())
    log.close()
    data = (tmp_path / "log.1").read_bytes()
    assert len(data) == 67_108_880  # header and 64 MiB, as Apache makes it
    assert data[: len(KNOWN_LOG)] == KNOWN_LOG
    assert not any(data[len(KNOWN_LOG) :])


def test_what_was_committed_is_read_again_in_order(tmp_path: Path) -> None:
    history = History(4)
    log = TxnLog(tmp_path, pre_alloc_bytes=1 << 16)
    for _ in range(500):
        history.step()
        log.append(*history.entries[-1])
        if history.random.random() < 0.1:
            log.commit(log.take())
    log.commit(log.take())
    log.close()
    assert [(zxid, entry) for zxid, _, _, entry in read_from(tmp_path, 1)] == history.entries
    assert [(zxid, entry) for zxid, _, _, entry in read_from(tmp_path, 300)] == history.entries[299:]


def test_offsets_lead_to_the_records(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, 2, 3)
    data = path.read_bytes()
    for _, offset, entry in read_log(path):
        assert int.from_bytes(data[offset : offset + 8], "big") == adler32(entry)


def test_no_file_is_made_before_the_first_record(tmp_path: Path) -> None:
    log = TxnLog(tmp_path)
    log.commit(log.take())
    log.roll()
    log.commit(log.take())
    log.close()
    assert os.listdir(tmp_path) == []
    assert log.current_path is None


def test_each_roll_begins_a_file_named_by_its_first_txn(tmp_path: Path) -> None:
    log = TxnLog(tmp_path, pre_alloc_bytes=0)
    for zxid in range(1, 10):
        log.append(zxid, entry_of(zxid))
        if zxid % 3 == 0:
            log.roll()
            log.roll()  # twice is once
    log.commit(log.take())
    assert log.current_path == tmp_path / "log.7"
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["log.1", "log.4", "log.7"]
    assert all_zxids(tmp_path) == list(range(1, 10))


def test_a_roll_between_two_commits_begins_a_file(tmp_path: Path) -> None:
    log = TxnLog(tmp_path, pre_alloc_bytes=0)
    log.append(10, entry_of(10))
    log.commit(log.take())
    log.roll()
    assert (log.txns_since_roll, log.bytes_since_roll) == (0, 0)
    log.append(11, entry_of(11))
    assert (log.txns_since_roll, log.bytes_since_roll) == (1, 53)
    log.commit(log.take())
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["log.a", "log.b"]


def test_a_file_over_the_size_limit_is_rolled(tmp_path: Path) -> None:
    write_log(tmp_path, *range(1, 8), size_limit=150)
    assert sorted(os.listdir(tmp_path)) == ["log.1", "log.4", "log.7"]
    assert all_zxids(tmp_path) == list(range(1, 8))


def test_a_file_of_the_same_name_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "log.5").write_bytes(KNOWN_LOG + b"what a crash left behind" * 100)
    assert zxids_of(write_log(tmp_path, 5, 6)) == [5, 6]


@pytest.mark.parametrize("step", [0, 4096, 10_000, 1 << 20])
def test_the_file_grows_ahead_of_its_records(tmp_path: Path, step: int) -> None:
    log = TxnLog(tmp_path, pre_alloc_bytes=step)
    at = 16
    for zxid in range(1, 300):
        log.append(zxid, entry_of(zxid, 100))
        at += 113
        if zxid % 7 == 0:
            log.commit(log.take())
            size = (tmp_path / "log.1").stat().st_size
            assert size == at if step == 0 else at + 4096 <= size + step
            assert size >= at
    log.commit(log.take())
    log.close()
    assert all_zxids(tmp_path) == list(range(1, 300))


def test_a_record_larger_than_the_growth_fits(tmp_path: Path) -> None:
    log = TxnLog(tmp_path, pre_alloc_bytes=4096)
    for zxid in (1, 2):
        log.append(zxid, entry_of(zxid, 100_000))
        log.commit(log.take())
    log.close()
    assert all_zxids(tmp_path) == [1, 2]


def test_a_file_system_without_preallocation_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(txnlog.os, "posix_fallocate", refuse)
    path = write_log(tmp_path, 1, 2, pre_alloc_bytes=1 << 16)
    assert path.stat().st_size == 16 + (1 << 16)
    assert zxids_of(path) == [1, 2]


def test_one_thread_appends_while_another_commits(tmp_path: Path) -> None:
    log = TxnLog(tmp_path, pre_alloc_bytes=1 << 16, force_sync=False)
    appended = 0
    while appended < 3000:
        batch = log.take()
        worker = threading.Thread(target=log.commit, args=(batch,))
        worker.start()
        for _ in range(100):
            appended += 1
            log.append(appended, entry_of(appended))
            if appended % 470 == 0:
                log.roll()
        worker.join()
    log.commit(log.take())
    log.close()
    assert all_zxids(tmp_path) == list(range(1, 3001))


def test_every_commit_is_synced_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(txnlog.os, "fdatasync", synced.append)
    log = TxnLog(tmp_path, pre_alloc_bytes=0)
    for zxid in (1, 2, 3):
        log.append(zxid, entry_of(zxid))
        before = len(synced)
        log.commit(log.take())
        assert len(synced) > before
    log.close()
    synced.clear()
    write_log(tmp_path, 4, 5, force_sync=False)
    assert synced == []


def test_a_file_that_is_left_behind_is_synced_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(txnlog.os, "fdatasync", lambda fd: names.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name))
    log = TxnLog(tmp_path, pre_alloc_bytes=0)
    log.append(1, entry_of(1))
    log.commit(log.take())
    log.append(2, entry_of(2))
    log.roll()
    log.append(3, entry_of(3))
    names.clear()
    log.commit(log.take())
    log.close()
    assert names.index("log.1") < names.index("log.3")


def test_an_error_of_the_disk_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    log = TxnLog(tmp_path, pre_alloc_bytes=0)
    log.append(1, entry_of(1))
    monkeypatch.setattr(txnlog.os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        log.commit(log.take())
    log.close()


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 3, 5000])
def test_a_log_cut_at_any_byte_keeps_what_is_whole(tmp_path: Path, padding: int) -> None:
    path = write_log(tmp_path, 1, 2, 3)
    data = path.read_bytes()
    ends = [offset + 12 + len(entry) + 1 for _, offset, entry in read_log(path)]
    for end in range(16, len(data) + 1):
        path.write_bytes(data[:end] + bytes(padding))
        # Zeros behind a cut entry complete it, but for its last byte.
        assert zxids_of(path) == [zxid for zxid, whole in enumerate(ends, 1) if whole <= end]


@pytest.mark.parametrize("size", range(16))
def test_a_header_cut_short_is_fatal(tmp_path: Path, size: int) -> None:
    path = tmp_path / "log.1"
    path.write_bytes(KNOWN_LOG[:size])
    with pytest.raises(DamagedLog, match=rf"log\.1, offset 0: the header is cut short: {size} bytes of 16"):
        list(read_log(path))


def test_a_wrong_magic_is_fatal(tmp_path: Path) -> None:
    path = tmp_path / "log.1"
    path.write_bytes(b"ZKSN" + KNOWN_LOG[4:])
    with pytest.raises(DamagedLog, match="not a txn log: it begins with 5a4b534e"):
        list(read_log(path))


def test_version_and_dbid_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "log.1"
    path.write_bytes(KNOWN_LOG[:4] + b"\xff" * 12 + KNOWN_LOG[16:])
    assert zxids_of(path) == [1]


def test_a_length_of_zero_ends_the_file_whatever_the_checksum(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, 2, 3)
    data = path.read_bytes()
    path.write_bytes(data[: 16 + 53] + b"\1\2\3\4\5\6\7\x08" + bytes(4) + data[16 + 53 :])
    assert zxids_of(path) == [1]


def test_a_record_without_its_last_byte_ends_the_file(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, 2, 3)
    data = bytearray(path.read_bytes())
    data[16 + 2 * 53 - 1] = 0
    path.write_bytes(data)
    assert zxids_of(path) == [1]


def test_a_wrong_checksum_in_a_whole_record_is_fatal(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, 2, 3)
    data = bytearray(path.read_bytes())
    data[16 + 53 + 12 + 30] ^= 4
    path.write_bytes(data)
    records = read_log(path)
    assert next(records)[0] == 1
    with pytest.raises(DamagedLog) as caught:
        next(records)
    assert caught.value.offset == 16 + 53
    text = str(caught.value)
    assert str(path) in text
    assert "offset 69" in text
    assert "checksum of a record is wrong (its zxid seems to be 0x2)" in text
    assert "backup" in text


@pytest.mark.parametrize("length", [-1, -2, 1 << 30, 0x7FFFFFFF])
def test_an_unreasonable_length_is_fatal(tmp_path: Path, length: int) -> None:
    path = write_log(tmp_path, 1)
    path.write_bytes(path.read_bytes() + bytes(8) + length.to_bytes(4, "big", signed=True) + bytes(100))
    with pytest.raises(DamagedLog, match=f"offset 69: a record has the length {length}"):
        list(read_log(path))


def test_a_length_over_the_limit_is_fatal_and_under_it_is_read(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1)
    assert [zxid for zxid, _, _ in read_log(path, limit=40)] == [1]
    with pytest.raises(DamagedLog, match=r"jute\.maxbuffer allows 39"):
        list(read_log(path, limit=39))


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_never_gives_a_txn_that_was_not_written(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    path = write_log(tmp_path, *range(1, 40))
    data = path.read_bytes()
    written = {zxid: entry for zxid, _, entry in read_log(path)}
    for _ in range(200):
        broken = bytearray(data)
        for _ in range(dice.randrange(1, 4)):
            broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        path.write_bytes(broken)
        last = 0
        try:
            for zxid, _, entry in read_log(path):
                assert zxid == last + 1
                assert written[zxid] == entry
                last = zxid
        except DamagedLog:
            pass


# --- several files -------------------------------------------------------------------------------------------------


def test_reading_starts_with_the_newest_file_that_may_hold_the_txn(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2, 3)
    write_log(tmp_path, 4, 5, 6)
    write_log(tmp_path, 7, 8)
    (tmp_path / "log.1").write_bytes(b"damaged, but not needed")
    assert all_zxids(tmp_path, 5) == [5, 6, 7, 8]
    assert all_zxids(tmp_path, 7) == [7, 8]
    assert all_zxids(tmp_path, 99) == []
    with pytest.raises(DamagedLog):
        all_zxids(tmp_path, 3)


def test_reading_goes_on_behind_a_torn_tail(tmp_path: Path) -> None:
    torn = write_log(tmp_path, 1, 2, 3)
    torn.write_bytes(torn.read_bytes()[:-10])
    write_log(tmp_path, 3, 4)
    assert all_zxids(tmp_path) == [1, 2, 3, 4]


def test_files_are_ordered_by_number_and_strangers_ignored(tmp_path: Path) -> None:
    write_log(tmp_path, 0x9, 0xA)
    write_log(tmp_path, 0x10, 0x11)
    write_log(tmp_path, 0x100)
    for name in (
        "log.xyz",
        "log.0x5",
        "log.1_0",
        "log",
        "logs.5",
        "snapshot.5",
        "log.-5",
        "log. 5",
        "log.11112222333344445",
    ):
        (tmp_path / name).write_bytes(b"not a log")
    assert all_zxids(tmp_path) == [0x9, 0xA, 0x10, 0x11, 0x100]
