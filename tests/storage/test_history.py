"""The log as a history: its tail, parts of it for learners, and cutting it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.storage.test_txnlog import all_zxids, entry_of, write_log
from zkpy.proto.zxid import make_zxid
from zkpy.storage.errors import StorageError
from zkpy.storage.history import LogReader, cut, read_tail, truncate, written_size

EPOCH_2 = make_zxid(2, 0)


def touch_snapshot(directory: Path, zxid: int, size: int = 10_000) -> None:
    (directory / f"snapshot.{zxid:x}").write_bytes(bytes(size))


def tail(directory: Path, last: int, count: int = 500) -> list[int]:
    entries = read_tail(directory, directory, last, count)
    assert entries == [(zxid, entry_of(zxid)) for zxid, _ in entries]
    return [zxid for zxid, _ in entries]


def reader(directory: Path, first: int, last: int, factor: float = 0) -> LogReader:
    return LogReader(directory, directory, first, last, factor)


def read(directory: Path, first: int, last: int, **options: Any) -> list[int] | None:
    entries, is_end = reader(directory, first, last, **options).read(last, 1 << 20)
    assert is_end
    return None if entries is None else [zxid for zxid, _ in entries]


# --- the tail ------------------------------------------------------------------------------------------------------


def test_the_tail_reaches_over_files_and_no_further_than_asked(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2, 3)
    write_log(tmp_path, 4, 5, 6)
    write_log(tmp_path, 7)
    for count in range(1, 9):
        assert tail(tmp_path, 7, count) == list(range(max(1, 8 - count), 8))


def test_the_tail_goes_on_over_epochs(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2)
    write_log(tmp_path, EPOCH_2 + 1, EPOCH_2 + 2)
    assert tail(tmp_path, EPOCH_2 + 2) == [1, 2, EPOCH_2 + 1, EPOCH_2 + 2]


def test_the_tail_ends_at_a_hole(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2)
    write_log(tmp_path, 4, 5)
    assert tail(tmp_path, 5) == [4, 5]


def test_the_tail_ends_where_an_epoch_has_lost_its_beginning(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2)
    write_log(tmp_path, EPOCH_2 + 5, EPOCH_2 + 6)
    assert tail(tmp_path, EPOCH_2 + 6) == [EPOCH_2 + 5, EPOCH_2 + 6]


def test_the_tail_ends_where_a_leader_sent_a_snapshot(tmp_path: Path) -> None:
    # Apache's server leaves its old logs in place: the log does not show that txns between them are missing.
    write_log(tmp_path, 1, 2)
    write_log(tmp_path, EPOCH_2 + 1, EPOCH_2 + 2)
    touch_snapshot(tmp_path, make_zxid(1, 7))
    assert tail(tmp_path, EPOCH_2 + 2) == [EPOCH_2 + 1, EPOCH_2 + 2]


def test_a_snapshot_at_the_beginning_of_a_reign_makes_no_hole(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2)
    touch_snapshot(tmp_path, EPOCH_2)
    write_log(tmp_path, EPOCH_2 + 1)
    assert tail(tmp_path, EPOCH_2 + 1) == [1, 2, EPOCH_2 + 1]


def test_there_is_no_tail_when_the_log_does_not_end_with_the_last_txn(tmp_path: Path) -> None:
    assert tail(tmp_path, 0) == []
    write_log(tmp_path, 1, 2)
    assert tail(tmp_path, 9) == []
    assert tail(tmp_path, 1) == []


# --- parts for learners --------------------------------------------------------------------------------------------


def test_a_learner_gets_the_log_from_its_last_txn_on(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2, 3)
    write_log(tmp_path, 4, 5, 6)
    assert read(tmp_path, 2, 6) == [2, 3, 4, 5, 6]
    assert read(tmp_path, 2, 4) == [2, 3, 4]
    assert read(tmp_path, 3, 6) == [3, 4, 5, 6]
    assert read(tmp_path, 6, 6) is None


def test_a_txn_that_the_log_lacks_is_answered_with_the_one_before_it(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2)
    write_log(tmp_path, EPOCH_2 + 1, EPOCH_2 + 2)
    assert read(tmp_path, 77, EPOCH_2 + 2) == [2, EPOCH_2 + 1, EPOCH_2 + 2]


def test_a_log_that_begins_too_late_has_nothing_for_a_learner(tmp_path: Path) -> None:
    assert read(tmp_path, 0, 5) is None
    write_log(tmp_path, 4, 5, 6)
    assert read(tmp_path, 2, 6) is None


def test_a_hole_right_behind_the_learner_is_not_read_over(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2)
    write_log(tmp_path, 4, 5)
    assert read(tmp_path, 2, 5) is None
    assert read(tmp_path, 1, 5) == [1, 2]


def test_a_part_is_read_in_chunks_that_begin_where_the_last_one_ended(tmp_path: Path) -> None:
    write_log(tmp_path, *range(1, 8))
    write_log(tmp_path, *range(8, 12))
    chunks = []
    one = reader(tmp_path, 3, 10)
    while True:
        entries, is_end = one.read(10, 90)  # two records and a bit
        assert entries is not None
        chunks.append([zxid for zxid, _ in entries])
        if is_end:
            break
    assert chunks == [[3, 4, 5], [5, 6, 7, 8], [8, 9, 10]]
    for one_chunk, next_chunk in pairwise(chunks):
        assert next_chunk[0] == one_chunk[-1]
    assert sorted({zxid for chunk in chunks for zxid in chunk}) == list(range(3, 11))


def test_a_reader_goes_on_with_what_the_log_has_got_meanwhile(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2, 3)
    one = reader(tmp_path, 1, 2)
    assert one.read(2, 1000) == ([(1, entry_of(1)), (2, entry_of(2))], True)
    write_log(tmp_path, 4, 5)
    assert one.read(5, 1000) == ([(zxid, entry_of(zxid)) for zxid in (2, 3, 4, 5)], True)


def test_no_more_is_read_than_a_snapshot_would_cost(tmp_path: Path) -> None:
    size = 16 + 53 * 3
    for first in (1, 4, 7):
        assert written_size(write_log(tmp_path, first, first + 1, first + 2)) == size
    touch_snapshot(tmp_path, 9, size * 6)
    assert read(tmp_path, 1, 9, factor=0.33) is None
    assert read(tmp_path, 1, 9, factor=0.34) == [*range(1, 10)]
    assert read(tmp_path, 1, 9, factor=0) == [*range(1, 10)]
    assert read(tmp_path, 1, 9, factor=-1) is None
    assert read(tmp_path, 4, 9, factor=0.17) == [*range(4, 10)]
    assert read(tmp_path, 7, 9, factor=0.01) == [7, 8, 9], "the file to begin with does not count"


def test_what_is_preallocated_costs_nothing(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, 2, pre_alloc_bytes=1 << 24)
    assert path.stat().st_size > 1 << 24
    assert written_size(path) < 1 << 20


def test_a_log_that_is_purged_meanwhile_ends_the_reading(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2)
    path = write_log(tmp_path, 3, 4)
    one = reader(tmp_path, 1, 4)
    assert one.read(4, 60)[1] is False
    path.unlink()
    assert one.read(4, 1000) == ([(2, entry_of(2))], True)


# --- cutting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", range(1, 10))
@pytest.mark.parametrize("step", [0, 1 << 16])
def test_a_cut_history_ends_with_the_txn_it_was_cut_behind(tmp_path: Path, last: int, step: int) -> None:
    for first in (1, 4, 7):
        write_log(tmp_path, *range(first, first + 3), pre_alloc_bytes=step)
    truncate(tmp_path, last)
    assert all_zxids(tmp_path) == list(range(1, last + 1))
    path = tmp_path / f"log.{1 + (last - 1) // 3 * 3}"
    assert path.stat().st_size == 16 + 53 * (1 + (last - 1) % 3)


def test_a_cut_history_can_be_written_on(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2, 3)
    truncate(tmp_path, 2)
    write_log(tmp_path, 3, 4)
    assert all_zxids(tmp_path) == [1, 2, 3, 4]


def test_a_history_without_the_txn_is_not_cut(tmp_path: Path) -> None:
    write_log(tmp_path, 1, 2, 3)
    write_log(tmp_path, 7, 8)
    for zxid in (5, 99):
        with pytest.raises(StorageError, match=f"no log holds txn {zxid:#x}"):
            truncate(tmp_path, zxid)
    assert all_zxids(tmp_path) == [1, 2, 3, 7, 8]


@pytest.mark.parametrize("last", [0, 3, 5, 99])
def test_a_cut_needs_no_txn_to_cut_behind(tmp_path: Path, last: int) -> None:
    write_log(tmp_path, 1, 2, 3)
    write_log(tmp_path, 7, 8)
    cut(tmp_path, last)
    assert all_zxids(tmp_path) == [zxid for zxid in (1, 2, 3, 7, 8) if zxid <= last]
