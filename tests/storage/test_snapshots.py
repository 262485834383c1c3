"""Snapshot files: known bytes, seals, sections, compression, damage, and what a crash leaves behind."""

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path
from zlib import adler32

import pytest

from tests.storage.histories import History, dump
from zkpy.storage import snappy, snapshots
from zkpy.storage.errors import DamagedSnapshot
from zkpy.storage.snapshots import SnapshotWriter, find_snapshots, load_snapshot, looks_whole, write_snapshot
from zkpy.tree.datatree import DataTree
from zkpy.tree.txns import decode_txn

END = b"\0\0\0\1/"

KNOWN_EMPTY = (
    bytes.fromhex("5a4b534e 00000002 ffffffffffffffff 00000000 00000001 0000000000000001 00000001 00000001 00000005")
    + b"world\0\0\0\6anyone"
    + bytes.fromhex("00000000 00000000 ffffffffffffffff" + "00" * 60)
    + b"\0\0\0\x0a/zookeeper"
    + bytes.fromhex("00000000 ffffffffffffffff" + "00" * 60)
    + b"\0\0\0\x11/zookeeper/config"
    + bytes.fromhex("00000000 0000000000000001" + "00" * 40 + "ffffffff" + "00" * 16)
    + b"\0\0\0\x10/zookeeper/quota"
    + bytes.fromhex("00000000 ffffffffffffffff" + "00" * 60)
    + bytes.fromhex("00000001 2f 00000000b8a23b49 00000001 2f")
    + bytes.fromhex("0000000000000000 00000002 0000000000000000 0000000095b93d59 00000001 2f")
)


def history_of(seed: int, steps: int = 200) -> History:
    history = History(seed)
    for _ in range(steps):
        history.step()
    return history


def load(path: Path) -> DataTree:
    tree = DataTree(extended_types=True)
    load_snapshot(snapshots.list_files(path.parent, "snapshot")[0][0], path, tree)
    return tree


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_the_snapshot_of_an_empty_database_has_the_known_bytes(tmp_path: Path) -> None:
    # In a process of its own: the ACL map lists the ACLs of all trees in the process.
    program = (
        "import sys\nfrom pathlib import Path\nfrom zkpy.storage.snapshots import write_snapshot\n"
        "from zkpy.tree.datatree import DataTree\n"
        "write_snapshot(Path(sys.argv[1]), DataTree(), with_zxid=sys.argv[2] == 'with')"
    )
    for zxid_section in ("without", "with"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path), zxid_section], check=True, timeout=30)
        data = (tmp_path / "snapshot.0").read_bytes()
        assert data[:457] == KNOWN_EMPTY
        assert len(data) == (457 if zxid_section == "without" else 478)
    assert data[457:] == bytes(8) + adler32(data[:465]).to_bytes(8, "big") + END


def test_the_known_bytes_load_with_the_known_digest(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.0"
    path.write_bytes(KNOWN_EMPTY)
    tree = DataTree()
    loaded = load_snapshot(0, path, tree)
    assert tree.digest == 0x51C6D660
    assert loaded.digest is None
    tree.check()


@pytest.mark.parametrize("with_digest", [True, False])
@pytest.mark.parametrize("with_zxid", [True, False])
def test_every_combination_of_sections_loads(tmp_path: Path, with_digest: bool, with_zxid: bool) -> None:
    history = history_of(1)
    path = write_snapshot(tmp_path, history.tree, with_digest=with_digest, with_zxid=with_zxid)
    tree = DataTree(extended_types=True)
    loaded = load_snapshot(history.zxid, path, tree)
    assert loaded.digest == ((history.zxid, history.tree.digest) if with_digest else None)
    assert loaded.zxid == tree.last_zxid == history.zxid
    assert dump(tree) == dump(history.tree)


def test_a_snapshot_with_its_first_seal_only_loads(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.0"
    path.write_bytes(KNOWN_EMPTY[:-33])
    assert load_snapshot(0, path, DataTree()).digest is None


@pytest.mark.parametrize("compression", ["", "gz", "snappy"])
@pytest.mark.parametrize("budget", [1, 300, 1 << 20])
def test_a_snapshot_is_named_for_the_zxid_at_its_start_and_loads(tmp_path: Path, compression: str, budget: int) -> None:
    history = history_of(2)
    writer = SnapshotWriter(tmp_path, history.tree, compression=compression)
    while not writer.step(budget):
        pass
    writer.finish()
    suffix = f".{compression}" if compression else ""
    assert os.listdir(tmp_path) == [f"snapshot.{history.zxid:x}{suffix}"]
    assert looks_whole(writer.path)
    assert dump(load(writer.path)) == dump(history.tree)


def test_checksums_cover_the_plain_bytes_of_a_compressed_snapshot(tmp_path: Path) -> None:
    tree = history_of(2).tree
    plain = write_snapshot(tmp_path, tree).read_bytes()
    assert gzip.decompress(write_snapshot(tmp_path, tree, compression="gz").read_bytes()) == plain
    assert snappy.decompress(write_snapshot(tmp_path, tree, compression="snappy").read_bytes()) == plain


# --- fuzzy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_the_digest_is_that_of_the_tree_when_the_snapshot_was_complete(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    history = history_of(seed)
    writer = SnapshotWriter(tmp_path, history.tree)
    start = len(history.entries)
    while not writer.step(dice.choice([1, 500, 3000])):
        for _ in range(dice.randrange(5)):
            history.step()
    complete = (history.zxid, history.tree.digest)
    for _ in range(10):
        history.step()
    writer.finish()
    assert writer.path.name == f"snapshot.{start:x}"
    tree = DataTree(extended_types=True)
    loaded = load_snapshot(start, writer.path, tree)
    assert loaded.digest == complete
    for zxid, entry in history.entries[start:]:
        header, txn, digest = decode_txn(entry)
        tree.apply(header, txn)
        if zxid == complete[0]:
            assert tree.digest == complete[1]
        if zxid >= complete[0] and digest is not None:
            assert tree.digest == digest
    assert dump(tree) == dump(history.tree)


def test_a_digest_older_than_the_name_is_not_believed(tmp_path: Path) -> None:
    history = history_of(3)
    path = write_snapshot(tmp_path, history.tree)
    later = path.rename(tmp_path / "snapshot.100000000")
    assert load_snapshot(1 << 32, later, DataTree()).digest is None


def test_a_snapshot_is_read_in_blocks_of_whatever_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(6, 60)
    path = write_snapshot(tmp_path, history.tree)
    data = path.read_bytes()
    broken = tmp_path / "broken"
    broken.write_bytes(data.replace(b"\0\0\0\x10/zookeeper/quota", b"\x80\0\0\x10/zookeeper/quota"))
    complaints = set()
    for block in (1 << 20, 4096, 100, 17, 16):
        monkeypatch.setattr(snapshots, "_BLOCK", block)
        tree = DataTree(extended_types=True)
        assert load_snapshot(history.zxid, path, tree).digest == (history.zxid, history.tree.digest)
        assert dump(tree) == dump(history.tree)
        with pytest.raises(DamagedSnapshot) as caught:
            load_snapshot(history.zxid, broken, DataTree(extended_types=True))
        complaints.add(str(caught.value))
    at = data.index(b"\0\0\0\x10/zookeeper/quota")
    assert complaints == {f"{broken}: snapshot.path at byte {at}: length {0x10 - (1 << 31)}"}


# --- damage --------------------------------------------------------------------------------------------------------


def test_a_snapshot_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    history = history_of(4, 30)
    path = write_snapshot(tmp_path, history.tree)
    data = path.read_bytes()
    # Whole up to a seal is whole for whoever does not know the sections behind it.
    whole = {len(data), len(data) - 21, len(data) - 54}
    for end in range(len(data) + 1):
        path.write_bytes(data[:end])
        if end in whole:
            assert looks_whole(path)
            load_snapshot(history.zxid, path, DataTree())
        else:
            with pytest.raises(DamagedSnapshot, match=str(path)):
                load_snapshot(history.zxid, path, DataTree())


@pytest.mark.parametrize("compression", ["", "gz", "snappy"])
def test_a_snapshot_with_any_flipped_bit_is_refused_or_the_same(tmp_path: Path, compression: str) -> None:
    history = history_of(5, 60)
    path = write_snapshot(tmp_path, history.tree, compression=compression)
    data = path.read_bytes()
    good = dump(history.tree)
    dice = random.Random(5)
    refused = 0
    for _ in range(600):
        broken = bytearray(data)
        broken[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(broken)
        tree = DataTree(extended_types=True)
        try:
            load_snapshot(history.zxid, path, tree)
        except DamagedSnapshot:
            refused += 1
        else:  # bits that nobody looks at: version, dbid, gzip's header
            assert dump(tree) == good
    assert refused > 500


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "header is cut short"),
        (b"ZKSN", "header is cut short"),
        (b"ZKLG" + KNOWN_EMPTY[4:], "not a snapshot: it begins with 5a4b4c47"),
        (KNOWN_EMPTY + b"x", "no section of it"),
        (KNOWN_EMPTY[:-6] + b"\0" + END, "the checksum is wrong"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, complaint: str) -> None:
    path = tmp_path / "snapshot.0"
    path.write_bytes(data)
    with pytest.raises(DamagedSnapshot, match=complaint):
        load_snapshot(0, path, DataTree())


def test_an_unreadable_snapshot_is_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(DamagedSnapshot, match="No such file"):
        load_snapshot(5, tmp_path / "snapshot.5", DataTree())


# --- which there are -----------------------------------------------------------------------------------------------


def test_only_what_looks_whole_is_found_newest_first(tmp_path: Path) -> None:
    for name in ("snapshot.1", "snapshot.ff", "snapshot.10", "snapshot.5.tmp"):
        (tmp_path / name).write_bytes(b"12345" + END)
    (tmp_path / "snapshot.20.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "snapshot.30.snappy").write_bytes(snappy.HEADER)
    (tmp_path / "snapshot.40").write_bytes(b"1234" + END)  # nine bytes
    (tmp_path / "snapshot.50").write_bytes(b"12345" + END + b"\0")
    (tmp_path / "snapshot.60.gz").write_bytes(b"plain" + END)
    (tmp_path / "snapshot.70.snappy").write_bytes(b"\x82SNAPP")
    (tmp_path / "snapshot.80").write_bytes(b"")
    (tmp_path / "snapshot.x").write_bytes(b"12345" + END)
    (tmp_path / "snapshot").write_bytes(b"12345" + END)
    assert [zxid for zxid, _ in find_snapshots(tmp_path)] == [0xFF, 0x30, 0x20, 0x10, 5, 1]
    assert [zxid for zxid, _ in find_snapshots(tmp_path, 2)] == [0xFF, 0x30]


def test_a_snapshot_being_written_is_none_for_anybody(tmp_path: Path) -> None:
    tree = history_of(6).tree
    writer = SnapshotWriter(tmp_path, tree)
    while not writer.step(100):
        assert find_snapshots(tmp_path) == []
    assert find_snapshots(tmp_path) == []
    # Apache takes for a snapshot whatever has `snapshot` before the first dot of its name.
    assert all(name.split(".")[0] not in ("snapshot", "log") for name in os.listdir(tmp_path))
    writer.finish()
    assert len(find_snapshots(tmp_path)) == 1


def test_a_new_snapshot_takes_the_place_of_one_of_the_same_name(tmp_path: Path) -> None:
    history = history_of(7)
    (tmp_path / f"snapshot.{history.zxid:x}").write_bytes(b"damaged")
    assert dump(load(write_snapshot(tmp_path, history.tree))) == dump(history.tree)


def test_a_given_up_snapshot_leaves_nothing_behind(tmp_path: Path) -> None:
    tree = history_of(8).tree
    writer = SnapshotWriter(tmp_path, tree)
    writer.step(100)
    assert tree.old_acls == [{}]
    writer.abort()
    assert os.listdir(tmp_path) == []
    assert tree.old_acls == []
    writer.abort()


def test_a_snapshot_that_cannot_be_begun_does_not_burden_the_tree(tmp_path: Path) -> None:
    tree = history_of(9).tree
    with pytest.raises(FileNotFoundError):
        SnapshotWriter(tmp_path / "missing", tree)
    assert tree.old_acls == []


def test_a_snapshot_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    tree = history_of(9).tree
    monkeypatch.setattr(snapshots.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_snapshot(tmp_path, tree)
    assert os.listdir(tmp_path) == []
    assert tree.old_acls == []
