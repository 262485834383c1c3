"""Txns as bytes: known bytes, old forms, and everything that must be refused."""

import pytest

from jute import JuteError
from tests.storage.histories import OPEN, History
from zkpy.proto import opcodes
from zkpy.proto.records import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    CreateTxnV0,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    Txn,
    TxnHeader,
)
from zkpy.tree.txns import decode_txn, encode_txn, zxid_of

SESSION = 0x0100000804B30000


def header(type_: int, zxid: int = 7) -> TxnHeader:
    return TxnHeader(SESSION, 1, zxid, 0x01A2070A91E6, type_)


def test_a_known_create_session_has_its_known_bytes() -> None:
    txn_header = TxnHeader(SESSION, 0, 1, 0x01A2070A91E6, opcodes.CREATE_SESSION)
    entry = encode_txn(txn_header, CreateSessionTxn(10000), 0x51C6D660)
    assert entry.hex() == (
        "0100000804b30000000000000000000000000001000001a2070a91e6fffffff600002710000000020000000051c6d660"
    )
    assert decode_txn(entry) == (txn_header, CreateSessionTxn(10000), 0x51C6D660)
    assert zxid_of(entry) == 1


def test_entries_have_the_known_lengths() -> None:
    assert len(encode_txn(header(opcodes.CREATE_SESSION), CreateSessionTxn(1), 0)) == 48
    assert len(encode_txn(header(opcodes.CLOSE_SESSION), CloseSessionTxn([]), 0)) == 48
    assert len(encode_txn(header(opcodes.ERROR), ErrorTxn(-101), None)) == 36


def test_every_kind_of_txn_survives_the_round_trip() -> None:
    history = History(1)
    for _ in range(500):
        history.step()
    for zxid, entry in history.entries:
        txn_header, txn, digest = decode_txn(entry)
        assert txn_header.zxid == zxid
        assert (digest is None) == (txn_header.type == opcodes.ERROR)
        assert encode_txn(txn_header, txn, digest) == entry


def test_a_digest_with_its_top_bit_set_stays_unsigned() -> None:
    entry = encode_txn(header(opcodes.DELETE), DeleteTxn("/a"), (1 << 64) - 2)
    assert decode_txn(entry)[2] == (1 << 64) - 2


def test_a_digest_of_another_version_counts_as_none() -> None:
    entry = encode_txn(header(opcodes.DELETE), DeleteTxn("/a"), 5)
    assert decode_txn(entry[:-12] + b"\0\0\0\3" + entry[-8:])[2] is None


def test_a_create_of_old_has_no_parent_cversion() -> None:
    entry = encode_txn(header(opcodes.CREATE), CreateTxnV0("/a", b"x", OPEN, True), None)
    assert decode_txn(entry)[1:] == (CreateTxn("/a", b"x", OPEN, True, -1), None)


def test_only_the_oldest_create_may_lack_its_parent_cversion() -> None:
    with pytest.raises(JuteError):
        decode_txn(encode_txn(header(opcodes.CREATE2), CreateTxnV0("/a", b"x", OPEN, True), None))


@pytest.mark.parametrize("digest", [None, 0x51C6D660, 4 << 32])
def test_a_close_session_may_have_no_record(digest: int | None) -> None:
    assert decode_txn(encode_txn(header(opcodes.CLOSE_SESSION), None, digest)) == (
        header(opcodes.CLOSE_SESSION),
        None,
        digest,
    )


@pytest.mark.parametrize("paths", [[], ["/abc"], ["/a", "/b"], ["/a", "/b", "/ccc/ddd"]])
@pytest.mark.parametrize("digest", [None, 2 << 32])
def test_a_close_session_with_a_record_is_not_taken_for_one_without(paths: list[str], digest: int | None) -> None:
    entry = encode_txn(header(opcodes.CLOSE_SESSION), CloseSessionTxn(paths), digest)
    assert decode_txn(entry)[1:] == (CloseSessionTxn(paths), digest)


@pytest.mark.parametrize("type_", [opcodes.CHECK, opcodes.GET_DATA, 0, 99, -12])
def test_a_type_that_no_log_may_hold_is_refused(type_: int) -> None:
    with pytest.raises(JuteError, match=f"unsupported type of txn {type_}"):
        decode_txn(encode_txn(header(type_), CheckVersionTxn("/a", 1), None))


def test_a_type_that_no_multi_may_hold_is_refused() -> None:
    inner = Txn(opcodes.SET_ACL, SetACLTxn("/a", OPEN, 1).to_bytes())
    with pytest.raises(JuteError, match="inside a multi"):
        decode_txn(encode_txn(header(opcodes.MULTI), MultiTxn([inner]), None))


def test_an_entry_cut_at_any_byte_is_refused_or_lacks_its_digest() -> None:
    history = History(2)
    for _ in range(200):
        history.step()
    for _, entry in history.entries:
        txn_header, txn, digest = decode_txn(entry)
        body_end = len(entry) - (0 if digest is None else 12)
        for end in range(len(entry)):
            try:
                found = decode_txn(entry[:end])
            except JuteError:
                assert end < body_end
                continue
            if end < body_end:  # the two old forms
                assert txn_header.type in (opcodes.CREATE, opcodes.CLOSE_SESSION)
            else:
                assert found == (txn_header, txn, None)
