"""The short way of the usual set and create beside the long way that all txns can go: same trees, same changes."""

from typing import Any

import pytest

from jute import JuteError
from tests.storage.histories import OPEN, History, dump
from zkpy.proto import opcodes
from zkpy.proto.records import CreateTxn, SetDataTxn, TxnHeader
from zkpy.tree.datatree import DataTree
from zkpy.tree.prepared import PreparedCreate, PreparedSet
from zkpy.tree.txns import TXN_HEADER, decode_txn, encode_txn
from zkpy.tree.usual import Usual, prepare_usual


def prepared(tree: DataTree, entry: bytes) -> Usual | None:
    client_id, _, zxid, time_ms, type_ = TXN_HEADER.unpack_from(entry)
    return prepare_usual(tree, entry, client_id, zxid, time_ms, type_)


def take(tree: DataTree, entry: bytes) -> bool:
    """Apply an entry by the short way where it can go; whether it could."""
    usual = prepared(tree, entry)
    if usual is None:
        header, txn, _ = decode_txn(entry)
        tree.apply(header, txn)
        return False
    txn, digest, said = usual
    assert digest == said
    if isinstance(txn, PreparedSet):
        tree.put(txn, digest)
    else:
        assert isinstance(txn, PreparedCreate)
        tree.add(txn, digest)
    return True


def state(tree: DataTree) -> dict[str, Any]:
    return {**dump(tree), "digest": tree.digest, "zxid": tree.last_zxid, "size": tree.data_size}


@pytest.mark.parametrize("seed", range(6))
def test_both_ways_make_the_same_tree_and_note_the_same_changes(seed: int) -> None:
    history = History(seed)
    long, short = DataTree(extended_types=True), DataTree(extended_types=True)
    went: list[int] = []
    for _ in range(600):
        history.step()
        entry = history.entries[-1][1]
        header, txn, _ = decode_txn(entry)
        long.apply(header, txn)
        if take(short, entry):
            went.append(header.type)
        assert short.take_changes() == long.take_changes()
        assert short.digest == long.digest
    assert state(short) == state(long)
    assert went.count(opcodes.CREATE) > 20
    assert went.count(opcodes.SET_DATA) > 20


def whole(type_: int, txn: Any, zxid: int = 3) -> bytes:
    return encode_txn(TxnHeader(0x0100000804B30000, 1, zxid, 5, type_), txn, 0)


def small_tree() -> DataTree:
    history = History()
    history.create("/a", b"1")
    history.create("/b", b"1")
    return history.tree


@pytest.mark.parametrize(
    "entry",
    [whole(opcodes.SET_DATA, SetDataTxn("/a", b"data", 1)), whole(opcodes.CREATE, CreateTxn("/c", b"", OPEN, True, 3))],
    ids=["set", "create"],
)
def test_what_is_cut_short_goes_the_long_way_which_refuses_it(entry: bytes) -> None:
    tree = small_tree()
    assert prepared(tree, entry) is not None
    for size in range(32, len(entry)):
        usual = prepared(tree, entry[:size])
        assert usual is None, size
    with pytest.raises(JuteError):
        decode_txn(entry[:40])


UNUSUAL = {
    "a node that is not there": whole(opcodes.SET_DATA, SetDataTxn("/none", b"", 1)),
    "a node that is there": whole(opcodes.CREATE, CreateTxn("/a", b"", OPEN, False, 9)),
    "no parent": whole(opcodes.CREATE, CreateTxn("/none/c", b"", OPEN, False, 9)),
    "no data": whole(opcodes.SET_DATA, SetDataTxn("/a", None, 1)),
    "no ACL": whole(opcodes.CREATE, CreateTxn("/c", b"", [], False, 9)),
    "an old create, which does not count children": whole(opcodes.CREATE, CreateTxn("/c", b"", OPEN, False, -1)),
    "a replay": whole(opcodes.CREATE, CreateTxn("/c", b"", OPEN, False, 9), zxid=2),
    "the root's other name": whole(opcodes.CREATE, CreateTxn("//c", b"", OPEN, False, 9)),
    "the root": whole(opcodes.SET_DATA, SetDataTxn("/", b"", 1)),
    "a system node": whole(opcodes.SET_DATA, SetDataTxn("/zookeeper/config", b"", 1)),
    "a path that is no text": whole(opcodes.SET_DATA, SetDataTxn("/a", b"", 1)).replace(b"/a", b"\xff\xfe"),
    "a length below zero": whole(opcodes.SET_DATA, SetDataTxn("/a", b"", 1)).replace(
        b"\0\0\0\2/a", b"\xff\xff\xff\0/a"
    ),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_what_is_not_as_usual_goes_the_long_way(what: str) -> None:
    assert prepared(small_tree(), UNUSUAL[what]) is None


def test_a_tree_whose_digest_says_nothing_goes_the_long_way() -> None:
    entry = whole(opcodes.SET_DATA, SetDataTxn("/a", b"", 1))
    tree = small_tree()
    tree.is_fuzzy = True
    assert prepared(tree, entry) is None
    assert prepared(DataTree(digest_enabled=False), entry) is None


def test_a_txn_without_a_digest_goes_the_long_way() -> None:
    header = TxnHeader(1, 1, 3, 5, opcodes.SET_DATA)
    assert prepared(small_tree(), encode_txn(header, SetDataTxn("/a", b"", 1), None)) is None
