"""The epoch files: what a start makes of them, and that a crash leaves the old number or the new one."""

import os
from pathlib import Path

import pytest

from zkpy.proto.zxid import make_zxid
from zkpy.storage import Epochs, StorageError


def files(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_missing_files_begin_with_the_epoch_of_the_last_txn(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, make_zxid(7, 3))
    assert (epochs.accepted, epochs.current) == (7, 7)
    assert files(tmp_path) == {"acceptedEpoch": "7", "currentEpoch": "7"}


def test_a_new_database_has_epoch_zero(tmp_path: Path) -> None:
    Epochs(tmp_path, 0)
    assert files(tmp_path) == {"acceptedEpoch": "0", "currentEpoch": "0"}


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, 0)
    epochs.write(5, 0)
    epochs.write(5, 5)
    epochs.write(6, 5)
    assert files(tmp_path) == {"acceptedEpoch": "6", "currentEpoch": "5"}
    again = Epochs(tmp_path, make_zxid(5, 9))
    assert (again.accepted, again.current) == (6, 5)


def test_an_epoch_as_an_editor_leaves_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "acceptedEpoch").write_text("12\n")
    (tmp_path / "currentEpoch").write_text(" 11\r\n")
    epochs = Epochs(tmp_path, 0)
    assert (epochs.accepted, epochs.current) == (12, 11)


def test_a_missing_accepted_epoch_is_at_least_the_current_one(tmp_path: Path) -> None:
    (tmp_path / "currentEpoch").write_text("4")
    assert Epochs(tmp_path, make_zxid(2, 1)).accepted == 4


def test_a_log_that_is_ahead_of_the_current_epoch_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "acceptedEpoch").write_text("4")
    (tmp_path / "currentEpoch").write_text("3")
    epochs = Epochs(tmp_path, make_zxid(4, 1))
    assert (epochs.accepted, epochs.current) == (4, 3)


def test_no_epoch_is_accepted_that_the_history_has_left_behind(tmp_path: Path) -> None:
    (tmp_path / "acceptedEpoch").write_text("2")
    (tmp_path / "currentEpoch").write_text("2")
    Epochs(tmp_path, make_zxid(3, 1))
    assert files(tmp_path) == {"acceptedEpoch": "3", "currentEpoch": "2"}


def test_an_accepted_epoch_below_the_current_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acceptedEpoch").write_text("2")
    (tmp_path / "currentEpoch").write_text("3")
    with pytest.raises(StorageError, match="acceptedEpoch is 2, which is less than currentEpoch, 3"):
        Epochs(tmp_path, 0)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "0x1", "1 2", "9" * 30])
def test_what_is_no_epoch_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "currentEpoch").write_text(text)
    with pytest.raises(StorageError, match="currentEpoch should hold an epoch"):
        Epochs(tmp_path, 0)


@pytest.mark.parametrize("calls", range(8))
def test_a_crash_leaves_the_old_numbers_or_the_new_ones_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    epochs = Epochs(tmp_path, 0)
    left = calls

    def count_down() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")

    def fail_sometimes(fd: int, sync=os.fsync) -> None:  # type: ignore[no-untyped-def]
        count_down()
        sync(fd)

    def rename_sometimes(self: Path, target: Path, rename=Path.rename) -> None:  # type: ignore[no-untyped-def]
        count_down()
        rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_sometimes)
        patch.setattr(Path, "rename", rename_sometimes)
        try:
            epochs.write(9, 8)
        except OSError:
            assert calls < 6
        else:
            assert calls >= 6
    again = Epochs(tmp_path, 0)
    assert (again.accepted, again.current) in [(0, 0), (9, 0), (9, 8)]
    if calls >= 6:
        assert (again.accepted, again.current) == (9, 8)


def test_an_epoch_to_come_is_announced_beside_the_file(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, 0)
    epochs.write(3, 0)
    epochs.announce(3)
    assert files(tmp_path) == {"acceptedEpoch": "3", "currentEpoch": "0", "currentEpoch.tmp": "3"}
    epochs.write(3, 3)
    epochs.announce(3)
    assert files(tmp_path) == {"acceptedEpoch": "3", "currentEpoch": "3"}
