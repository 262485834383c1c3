"""Every record of the schema: whole, cut at every byte, with a tail, random; and known bytes of real servers."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jute import JuteError, parse
from jute.generate import attribute
from jute.schema import Primitive, Record, Ref, Type, Vector, records_by_name
from zkpy.proto import opcodes, records
from zkpy.proto.records import (
    ACL,
    ConnectRequest,
    ConnectResponse,
    CreateSessionTxn,
    ErrorResponse,
    ExistsResponse,
    FileHeader,
    Id,
    MultiHeader,
    ReplyHeader,
    Stat,
    StatPersisted,
    TxnDigest,
    TxnHeader,
    WhoAmIResponse,
)

SCHEMA = records_by_name(parse(Path(records.__file__).with_name("records.jute").read_text(encoding="utf-8")))


def value_of(type_: Type, dice: random.Random, full: bool) -> Any:
    """A value of the type: at its fullest, or with nulls where nulls may be."""
    if isinstance(type_, Ref):
        return record_of(SCHEMA[type_.name], dice, full)
    if isinstance(type_, Vector):
        return [value_of(type_.element, dice, True) for _ in range(2)] if full else None
    assert isinstance(type_, Primitive), f"no record has a {type_}"
    if type_.name == "boolean":
        return dice.random() < 0.5
    if type_.name in ("int", "long"):
        bits = {"int": 31, "long": 63}[type_.name]
        return dice.randrange(-(2**bits), 2**bits)
    assert type_.name in ("ustring", "buffer"), f"no record has a {type_}"
    if not full:
        return None
    return "/né" if type_.name == "ustring" else b"\x00data"


def record_of(record: Record, dice: random.Random, full: bool) -> Any:
    return getattr(records, record.name)(*(value_of(field.type, dice, full) for field in record.fields))


def samples() -> Iterator[Any]:
    dice = random.Random(7)
    for record in SCHEMA.values():
        yield record_of(record, dice, True)
        yield record_of(record, dice, False)


@pytest.fixture(params=list(samples()), ids=lambda record: type(record).__name__)
def record(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_there_is_a_class_for_every_record_in_the_order_of_the_schema() -> None:
    assert len(SCHEMA) == 72
    for each in SCHEMA.values():
        assert getattr(records, each.name).__slots__ == tuple(attribute(field) for field in each.fields)


def test_a_record_comes_back_equal(record: Any) -> None:
    raw = record.to_bytes()
    kind = type(record)
    assert kind.decode(raw) == (record, len(raw))
    assert kind.decode(b"head" + raw + b"tail", 4) == (record, 4 + len(raw))
    assert kind.from_bytes(bytearray(raw) + b"tail") == record
    assert kind.from_bytes(memoryview(raw)).to_bytes() == raw


def test_encode_appends(record: Any) -> None:
    out = bytearray(b"head")
    record.encode(out)
    assert out == b"head" + record.to_bytes()


def test_a_record_cut_at_any_byte_is_refused(record: Any) -> None:
    raw = record.to_bytes()
    for size in range(len(raw)):
        with pytest.raises(JuteError, match=r"^\w+\.\w+ at byte \d+: "):
            type(record).decode(raw[:size])


def test_a_damaged_record_gives_a_record_or_a_jute_error(record: Any) -> None:
    dice = random.Random(3)
    raw = record.to_bytes()
    for _ in range(200):
        damaged = bytearray(raw)
        damaged[dice.randrange(len(raw))] = dice.choice([0, 0x7F, 0x80, 0xFF, dice.randrange(256)])
        for body in (bytes(damaged), dice.randbytes(dice.randrange(80))):
            try:
                found, end = type(record).decode(body)
            except JuteError:
                continue
            assert 0 < end <= len(body)
            assert type(found) is type(record)


def test_a_count_of_two_billion_is_refused_at_once() -> None:
    with pytest.raises(JuteError, match=r"^SetWatches\.dataWatches at byte 8: count 2147483647"):
        records.SetWatches.from_bytes(bytes(8) + b"\x7f\xff\xff\xff" + bytes(1000))
    with pytest.raises(JuteError, match=r"^SetACLRequest\.acl at byte 4: count 2147483647 of 12 bytes or more"):
        records.SetACLRequest.from_bytes(bytes(4) + b"\x7f\xff\xff\xff" + bytes(1000))


# Sizes and bytes that real servers were seen to send or write


def test_the_fixed_sizes_are_those_of_the_wire() -> None:
    assert len(Stat(*range(11)).to_bytes()) == 68
    assert len(StatPersisted(*range(9)).to_bytes()) == 60
    assert len(FileHeader(1, 2, 3).to_bytes()) == 16
    assert len(ReplyHeader(1, 2, 3).to_bytes()) == 16
    assert len(ConnectResponse(0, 1, 2, bytes(16), False).to_bytes()) == 37


def test_a_refused_reattach_is_all_zeros_but_for_the_length_of_the_password() -> None:
    wanted = "00000000 00000000 0000000000000000 00000010" + "00" * 16 + "00"
    assert ConnectResponse(0, 0, 0, bytes(16), False).to_bytes() == bytes.fromhex(wanted)


def test_a_connect_request_without_its_last_byte_is_short_in_that_field_only() -> None:
    raw = ConnectRequest(0, 5, 10000, 0, bytes(16), True).to_bytes()
    with pytest.raises(JuteError) as caught:
        ConnectRequest.from_bytes(raw[:-1])
    assert caught.value.field == "ConnectRequest.readOnly"
    assert not ConnectRequest.from_bytes(raw[:-1] + b"\0").read_only


def test_a_failed_multi_reads_as_its_results() -> None:
    raw = bytes.fromhex(
        "ffffffff 00 00000000 00000000  ffffffff 00 ffffff99 ffffff99"
        "ffffffff 00 fffffffe fffffffe  ffffffff 01 ffffffff"
    )
    at, codes = 0, []
    while True:
        header, at = MultiHeader.decode(raw, at)
        assert header.type == opcodes.ERROR
        if header.done:
            break
        result, at = ErrorResponse.decode(raw, at)
        assert result.err == header.err
        codes.append(result.err)
    assert codes == [0, -103, -2]
    assert at == len(raw)
    assert header == MultiHeader(-1, True, -1)


def test_the_root_of_a_fresh_server_has_this_stat() -> None:
    raw = bytearray(68)
    raw[36:40] = b"\xff\xff\xff\xff"  # cversion
    raw[56:60] = b"\0\0\0\1"  # numChildren
    wanted = Stat(0, 0, 0, 0, 0, -1, 0, 0, 0, 1, 0)
    assert ExistsResponse.from_bytes(raw).stat == wanted
    assert ExistsResponse(wanted).to_bytes() == raw


def test_who_am_i_without_credentials_tells_the_address() -> None:
    answer = WhoAmIResponse.from_bytes(bytes.fromhex("00000001 00000002") + b"ip" + b"\0\0\0\x09127.0.0.1")
    assert answer.client_info is not None
    assert [(each.auth_scheme, each.user) for each in answer.client_info] == [("ip", "127.0.0.1")]


def test_the_first_bytes_of_a_log_are_a_header_and_a_session() -> None:
    raw = bytes.fromhex(
        "5a4b4c47 00000002 0000000000000000  00000000a3370966 00000030"
        "0100000804b30000 00000000 0000000000000001 000001a2070a91e6 fffffff6 00002710 00000002 0000000051c6d660 42"
    )
    header, at = FileHeader.decode(raw)
    assert header == FileHeader(int.from_bytes(b"ZKLG"), 2, 0)
    at += 8 + 4  # the entry's checksum and length
    start = at
    txn_header, at = TxnHeader.decode(raw, at)
    assert txn_header == TxnHeader(0x0100000804B30000, 0, 1, 0x01A2070A91E6, opcodes.CREATE_SESSION)
    session, at = CreateSessionTxn.decode(raw, at)
    assert session.time_out == 10000
    digest, at = TxnDigest.decode(raw, at)
    assert digest == TxnDigest(2, 1371985504)
    assert at - start == 0x30
    assert raw[at:] == b"B"
    assert txn_header.to_bytes() + session.to_bytes() + digest.to_bytes() == raw[start:at]


def test_the_acl_of_an_empty_snapshot_lets_anyone_read() -> None:
    raw = bytes.fromhex("00000001 00000005") + b"world" + b"\0\0\0\x06anyone"
    assert ACL.from_bytes(raw) == ACL(opcodes.PERM_READ, Id("world", "anyone"))
