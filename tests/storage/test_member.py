"""What a leader makes of a member's directory: restored, truncated, and whole after a crash at any point of that."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.storage.histories import History, dump
from tests.storage.test_store import options, write
from zkpy.proto.zxid import make_zxid
from zkpy.storage import StorageError, Store
from zkpy.storage.snapshots import write_snapshot
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageWriter, load_image
from zkpy.tree.txns import decode_txn


class Crash(BaseException):
    """The process ends here."""


def tree_of(entries: list[tuple[int, bytes]]) -> DataTree:
    tree = DataTree(extended_types=True)
    for _, entry in entries:
        header, txn, _ = decode_txn(entry)
        tree.apply(header, txn)
    tree.take_changes()
    return tree


def follow(store: Store, history: History, count: int) -> None:
    """So many txns, in the log and in the tree."""
    begin = len(history.entries)
    write(store, history, count)
    for _, entry in history.entries[begin:]:
        header, txn, _ = decode_txn(entry)
        store.tree.apply(header, txn)
    store.tree.take_changes()


def take_snapshot(store: Store) -> None:
    writer = store.begin_snapshot()
    while not writer.step(1 << 16):
        pass
    writer.finish()


def fill(directory: Path, **fields: Any) -> tuple[Store, History]:
    """Thirty txns in three logs, and snapshots after ten and twenty."""
    store = Store(options(directory, pre_alloc=0, **fields))
    history = History(11)
    for _ in range(2):
        follow(store, history, 10)
        take_snapshot(store)
    follow(store, history, 10)
    return store, history


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "version-2").iterdir() if path.name != ".zkpy.lock")


def crash_at(patch: pytest.MonkeyPatch, step: int) -> list[int]:
    """End the process before its `step`th change to the file system; how many were made is counted in the list."""
    made = [0]

    def wrapped(original: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if made[0] == step:
                raise Crash
            made[0] += 1
            return original(*arguments, **keywords)

        return call

    for owner, name in ((Path, "unlink"), (Path, "rename"), (os, "fsync"), (os, "open")):
        patch.setattr(owner, name, wrapped(getattr(owner, name)))
    return made


# --- truncate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [10, 11, 15, 20, 21, 25, 29])
def test_a_truncated_member_has_the_tree_of_that_txn(tmp_path: Path, last: int) -> None:
    store, history = fill(tmp_path)
    old = store.tree
    assert store.truncate(last)
    assert store.tree is not old
    assert dump(store.tree) == dump(tree_of(history.entries[:last]))
    assert [zxid for zxid, _ in store.tail(500)] == list(range(1, last + 1))
    store.close()
    with Store(options(tmp_path)) as store:
        assert store.recovered.notes == []
        assert dump(store.tree) == dump(tree_of(history.entries[:last]))


def test_a_truncated_member_goes_on_without_a_restart(tmp_path: Path) -> None:
    store, _ = fill(tmp_path)
    store.truncate(17)
    other = History(12)
    other.tree = store.tree
    other.zxid = make_zxid(3, 0)
    write(store, other, 5)
    assert store.log.current_path == tmp_path / "version-2" / "log.300000001"
    store.close()
    with Store(options(tmp_path)) as store:
        assert store.recovered.notes == []
        assert dump(store.tree) == dump(other.tree)
        assert [zxid for zxid, _ in store.tail(500)] == [*range(1, 18), *(make_zxid(3, n) for n in range(1, 6))]


def test_a_tree_that_is_not_ahead_of_the_cut_is_kept(tmp_path: Path) -> None:
    # Proposed by a leader that lost: in the log, and never applied.
    store, history = fill(tmp_path)
    tree = store.tree
    write(store, history, 5)
    assert not store.truncate(30)
    assert store.tree is tree
    store.close()
    with Store(options(tmp_path)) as store:
        assert dump(store.tree) == dump(tree)


def test_a_member_truncated_to_nothing_is_as_good_as_new(tmp_path: Path) -> None:
    store, _ = fill(tmp_path)
    assert store.truncate(0)
    assert names(tmp_path) == ["snapshot.0"]
    assert dump(store.tree) == dump(DataTree(extended_types=True))
    write(store, History(), 3)
    store.close()
    with Store(options(tmp_path)) as store:
        assert store.tree.last_zxid == 3


def test_a_history_that_cannot_be_cut_is_left_as_it_is(tmp_path: Path) -> None:
    store, history = fill(tmp_path)
    (tmp_path / "version-2" / "log.1").unlink()
    before = names(tmp_path)
    assert [zxid for zxid in range(31) if store.can_cut(zxid)] == [0, 10, *range(11, 31)]
    with pytest.raises(StorageError, match="no log holds txn 0x9"):
        store.truncate(9)
    for zxid in (0, 10):
        (tmp_path / "version-2" / f"snapshot.{zxid:x}").unlink()
    assert [zxid for zxid in range(31) if store.can_cut(zxid)] == [0, *range(20, 31)]
    with pytest.raises(StorageError, match="no snapshot is older than that"):
        store.truncate(15)
    store.close()
    assert names(tmp_path) == [name for name in before if name not in ("snapshot.0", "snapshot.a")]
    with Store(options(tmp_path)) as store:
        assert dump(store.tree) == dump(history.tree)


@pytest.mark.parametrize("last", [0, 15])
def test_a_crash_while_truncating_leaves_a_history_that_can_be_cut_again(tmp_path: Path, last: int) -> None:
    expected = dump(tree_of(fill(tmp_path / "model")[1].entries[:last]))
    step = 0
    while True:
        directory = tmp_path / str(step)
        store, history = fill(directory)
        with pytest.MonkeyPatch.context() as patch:
            made = crash_at(patch, step)
            try:
                store.truncate(last)
            except Crash:
                pass
        is_done = made[0] < step
        store.close()
        with Store(options(directory, pre_alloc=0)) as store:
            zxid = store.tree.last_zxid
            assert dump(store.tree) == dump(tree_of(history.entries[:zxid]))
            if zxid > last:
                assert not is_done
                store.truncate(last)
            assert dump(store.tree) == expected
        if is_done:
            break
        step += 1
    assert step > 5


def test_what_follows_the_snapshot_of_a_leader_can_be_cut(tmp_path: Path) -> None:
    entries = fill(tmp_path / "leader")[1].entries
    store, history = fill(tmp_path / "member")
    store.restore(tree_of(entries[:20]))
    store.log.extend(entries[20:25])
    store.log.commit(store.log.take())
    store.truncate(20)
    assert dump(store.tree) == dump(tree_of(entries[:20]))
    store.close()
    with Store(options(tmp_path / "member", pre_alloc=0)) as store:
        assert dump(store.tree) == dump(tree_of(history.entries[:20]))


# --- restore -------------------------------------------------------------------------------------------------------


def received(zxid: int = make_zxid(2, 7)) -> History:
    """A history of another server, of which only the tree is sent."""
    history = History(77, first_zxid=zxid - 49)
    for _ in range(50):
        history.step()
    assert history.zxid == zxid
    return history


def test_a_restored_member_has_nothing_but_the_snapshot(tmp_path: Path) -> None:
    store, _ = fill(tmp_path)
    sent = received()
    store.restore(sent.tree)
    assert names(tmp_path) == ["snapshot.200000007"]
    assert store.tree is sent.tree
    assert store.tail(500) == []
    write(store, sent, 4)
    store.close()
    assert names(tmp_path) == ["log.200000008", "snapshot.200000007"]
    with Store(options(tmp_path)) as store:
        assert store.recovered.notes == []
        assert dump(store.tree) == dump(sent.tree)
        assert [zxid for zxid, _ in store.tail(500)] == [make_zxid(2, n) for n in range(8, 12)]


def test_a_snapshot_of_less_than_the_member_has_takes_the_rest_away(tmp_path: Path) -> None:
    store, _ = fill(tmp_path)
    sent = History(78)
    for _ in range(15):
        sent.step()
    store.restore(sent.tree)
    store.close()
    assert names(tmp_path) == ["snapshot.f"]
    with Store(options(tmp_path)) as store:
        assert dump(store.tree) == dump(sent.tree)


@pytest.mark.parametrize("zxid", [15, make_zxid(2, 7)])
def test_a_crash_while_restoring_leaves_the_old_history_or_the_new(tmp_path: Path, zxid: int) -> None:
    step = 0
    ends = set()
    while True:
        directory = tmp_path / str(step)
        store, history = fill(directory)
        sent = History(78)
        if zxid == 15:
            for _ in range(15):
                sent.step()
        else:
            sent = received(zxid)
        expected = dump(sent.tree)
        with pytest.MonkeyPatch.context() as patch:
            made = crash_at(patch, step)
            try:
                store.restore(sent.tree)
            except Crash:
                pass
        store.close()
        with Store(options(directory, pre_alloc=0)) as store:
            found = dump(store.tree)
            last = store.tree.last_zxid
            is_new = found == expected
            assert is_new or found == dump(tree_of(history.entries[:last]))
            ends.add(is_new)
        if made[0] < step:
            assert is_new
            break
        step += 1
    assert ends == {False, True}


def test_a_tree_that_was_sent_while_its_leader_went_on_gives_no_false_alarm_after_a_crash(tmp_path: Path) -> None:
    store, _ = fill(tmp_path)
    sent = received()
    image = ImageWriter(sent.tree)
    parts = [image.next_slice(1)]
    size = len(sent.entries)
    while not image.is_done:
        sent.step()
        parts.append(image.next_slice(300))
    tree = store.new_tree()
    load_image(tree, b"".join(parts))
    tree.finish_load()
    tree.last_zxid = sent.entries[size - 1][0]
    store.restore(tree)
    assert store.tree.is_fuzzy
    for _ in range(20):
        sent.step()
    store.log.extend(sent.entries[size:])
    store.log.commit(store.log.take())
    store.close()
    with Store(options(tmp_path, pre_alloc=0)) as store:
        assert dump(store.tree) == dump(sent.tree)
        assert (store.recovered.notes, store.recovered.digest_mismatches) == ([], 0)


def test_a_restored_tree_is_written_as_configured(tmp_path: Path) -> None:
    store, _ = fill(tmp_path, compression="gz")
    store.restore(received().tree)
    store.close()
    assert names(tmp_path) == ["snapshot.200000007.gz"]


def test_a_log_beyond_the_newest_snapshot_is_not_needed_for_the_tail(tmp_path: Path) -> None:
    store, history = fill(tmp_path)
    write_snapshot(store.snap_dir, history.tree)
    store.close()
    with Store(options(tmp_path)) as store:
        assert store.recovered.replayed == 0
        assert [zxid for zxid, _ in store.tail(5)] == [26, 27, 28, 29, 30]


def test_an_observer_without_a_log_keeps_the_trees_of_its_leaders_alone(tmp_path: Path) -> None:
    store = Store(options(tmp_path, keeps_log=False, snap_count=2))
    history = History(3)
    follow(store, history, 10)
    assert not store.wants_snapshot(10, 0)
    assert names(tmp_path) == ["snapshot.0"]
    history.create("/sent")
    sent = tree_of(history.entries)
    zxid = sent.last_zxid
    store.restore(sent)
    follow(store, history, 10)
    assert store.tree.last_zxid == zxid + 10
    store.close()
    assert names(tmp_path) == [f"snapshot.{zxid:x}"]
    with Store(options(tmp_path, keeps_log=False)) as store:
        assert store.tree.last_zxid == zxid
