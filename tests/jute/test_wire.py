"""The primitives: each whole, cut at every byte, with a tail, and with lengths that lie."""

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jute import JuteError, set_max_length, wire

Read = Callable[[wire.Buffer, int, str], tuple[Any, int]]
Write = Callable[[bytearray, Any], None]

SAMPLES: list[tuple[Read, Write, Any, str]] = [
    (wire.read_bool, wire.write_bool, True, "01"),
    (wire.read_bool, wire.write_bool, False, "00"),
    (wire.read_byte, wire.write_byte, -2, "fe"),
    (wire.read_int, wire.write_int, -2, "fffffffe"),
    (wire.read_int, wire.write_int, 2**31 - 1, "7fffffff"),
    (wire.read_long, wire.write_long, -(2**63), "8000000000000000"),
    (wire.read_long, wire.write_long, 0x0102030405060708, "0102030405060708"),
    (wire.read_float, wire.write_float, 1.5, "3fc00000"),
    (wire.read_double, wire.write_double, -2.25, "c002000000000000"),
    (wire.read_buffer, wire.write_buffer, None, "ffffffff"),
    (wire.read_buffer, wire.write_buffer, b"", "00000000"),
    (wire.read_buffer, wire.write_buffer, b"\x00\xff", "0000000200ff"),
    (wire.read_ustring, wire.write_ustring, None, "ffffffff"),
    (wire.read_ustring, wire.write_ustring, "", "00000000"),
    (wire.read_ustring, wire.write_ustring, "/a", "000000022f61"),
    (wire.read_ustring, wire.write_ustring, "é€\ud7ff\ue000\uffff", "0000000ec3a9e282aced9fbfee8080efbfbf"),
]


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    yield
    set_max_length(wire.DEFAULT_MAX_LENGTH)


def written(write: Write, value: Any) -> bytes:
    out = bytearray()
    write(out, value)
    return bytes(out)


@pytest.mark.parametrize(("read", "write", "value", "text"), SAMPLES)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_value_is_read_as_it_was_written(
    read: Read, write: Write, value: Any, text: str, kind: Callable[[bytes], Any]
) -> None:
    raw = bytes.fromhex(text)
    assert written(write, value) == raw
    assert read(kind(raw), 0, "X.y") == (value, len(raw))
    assert read(kind(b"head" + raw + b"tail"), 4, "X.y") == (value, 4 + len(raw))


@pytest.mark.parametrize(("read", "write", "value", "text"), SAMPLES)
def test_a_value_cut_at_any_byte_is_refused_by_field_and_offset(
    read: Read, write: Write, value: Any, text: str
) -> None:
    raw = b"head" + bytes.fromhex(text)
    for size in range(4, len(raw)):
        with pytest.raises(JuteError) as caught:
            read(raw[:size], 4, "X.y")
        assert (caught.value.field, caught.value.at) == ("X.y", 4)
        assert "X.y at byte 4" in str(caught.value)


def test_any_byte_but_zero_is_true() -> None:
    assert [wire.read_bool(bytes([each]), 0, "X.y")[0] for each in (0, 1, 2, 255)] == [False, True, True, True]


def test_a_buffer_read_from_a_view_is_a_copy() -> None:
    source = bytearray(b"\0\0\0\2ab")
    value, _ = wire.read_buffer(memoryview(source), 0, "X.y")
    source[4:] = b"xx"
    assert value == b"ab"
    assert type(value) is bytes


@pytest.mark.parametrize("read", [wire.read_buffer, wire.read_ustring])
@pytest.mark.parametrize("length", [-2, -(2**31), 4, 2**31 - 1])
def test_a_length_that_lies_is_refused(read: Read, length: int) -> None:
    with pytest.raises(JuteError, match=r"X\.y at byte 0: .*length"):
        read(struct.pack(">i", length) + b"abc", 0, "X.y")


@pytest.mark.parametrize("read", [wire.read_buffer, wire.read_ustring])
def test_a_length_over_the_limit_is_refused_even_if_the_bytes_are_there(read: Read) -> None:
    set_max_length(3)
    assert read(b"\0\0\0\3abc", 0, "X.y")[1] == 7
    with pytest.raises(JuteError, match="length 4 is over the limit of 3"):
        read(b"\0\0\0\4abcd", 0, "X.y")


def test_a_number_out_of_range_is_the_callers_bug() -> None:
    with pytest.raises(struct.error):
        wire.write_int(bytearray(), 2**31)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("80", "\ufffd"),
        ("c3", "\ufffd"),
        ("41c341", "A\ufffdA"),
        ("e4b8", "\ufffd"),
        ("f09f98", "\ufffd"),
        ("f09f9880", "\U0001f600"),
        ("eda080", "\ufffd"),  # one for a surrogate, where Python's own replacement counts three
        ("eda0bdedb880", "\ufffd\ufffd"),
        ("eda0", "\ufffd"),
        ("eda041", "\ufffdA"),
        ("c080", "\ufffd\ufffd"),
        ("fe", "\ufffd"),
    ],
)
def test_wrong_utf_8_is_read_as_java_reads_it(raw: str, text: str) -> None:
    body = bytes.fromhex(raw)
    assert wire.read_ustring(struct.pack(">i", len(body)) + body, 0, "X.y")[0] == text


def test_characters_above_ffff_are_written_as_two_surrogates() -> None:
    assert written(wire.write_ustring, "a\U0001f600") == bytes.fromhex("00000007 61 eda0bd edb880")
    assert written(wire.write_ustring, "\U00010000\U0010ffff") == bytes.fromhex("0000000c eda080edb080 edafbfedbfbf")


def test_a_lone_surrogate_is_written_as_itself() -> None:
    assert written(wire.write_ustring, "\ud800") == bytes.fromhex("00000003 eda080")


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])))
def test_text_of_the_basic_plane_survives(text: str) -> None:
    assert wire.read_ustring(written(wire.write_ustring, text), 0, "X.y")[0] == text


@given(st.text(st.characters()))
def test_text_is_written_unit_by_unit_as_utf_16_has_it(text: str) -> None:
    units = text.encode("utf-16-be", "surrogatepass")
    wanted = b"".join(chr(unit).encode("utf-8", "surrogatepass") for (unit,) in struct.iter_unpack(">H", units))
    assert written(wire.write_ustring, text)[4:] == wanted


@given(st.floats())
def test_a_double_keeps_its_bits(value: float) -> None:
    back, _ = wire.read_double(written(wire.write_double, value), 0, "X.y")
    assert back == value or (math.isnan(back) and math.isnan(value))


# Vectors and maps


def read_ints(buf: bytes) -> list[int] | None:
    return wire.read_vector(buf, 0, "X.y", wire.read_int, 4)[0]


def test_a_vector_is_its_count_and_its_elements() -> None:
    out = bytearray()
    wire.write_vector(out, [1, -1], wire.write_int)
    assert out == bytes.fromhex("00000002 00000001 ffffffff")
    assert wire.read_vector(out + b"tail", 0, "X.y", wire.read_int, 4) == ([1, -1], 12)


def test_a_null_vector_is_not_an_empty_one() -> None:
    out = bytearray()
    wire.write_vector(out, None, wire.write_int)
    wire.write_vector(out, [], wire.write_int)
    assert out == bytes.fromhex("ffffffff 00000000")
    assert wire.read_vector(out, 0, "X.y", wire.read_int, 4) == (None, 4)
    assert wire.read_vector(out, 4, "X.y", wire.read_int, 4) == ([], 8)


@pytest.mark.parametrize("count", [-2, -(2**31)])
def test_a_count_below_minus_one_reads_as_nothing_as_apache_reads_it(count: int) -> None:
    assert wire.read_vector(struct.pack(">i", count) + bytes(11), 0, "X.y", wire.read_int, 4) == ([], 4)


@pytest.mark.parametrize("count", [3, 2**31 - 1])
def test_a_count_that_lies_is_refused_before_an_element_is_read(count: int) -> None:
    def read(buf: wire.Buffer, at: int, field: str) -> tuple[int, int]:
        raise AssertionError("an element was read")

    with pytest.raises(JuteError, match=r"X\.y at byte 0: .*count"):
        wire.read_vector(struct.pack(">i", count) + bytes(11), 0, "X.y", read, 4)


def test_a_vector_cut_at_any_byte_is_refused() -> None:
    out = bytearray()
    wire.write_vector(out, ["/a", "", "/b"], wire.write_ustring)
    for size in range(len(out)):
        with pytest.raises(JuteError, match=r"X\.y"):
            wire.read_vector(out[:size], 0, "X.y", wire.read_some_ustring, 4)


@pytest.mark.parametrize("read", [wire.read_some_ustring, wire.read_some_buffer])
def test_a_null_element_is_refused(read: Read) -> None:
    with pytest.raises(JuteError, match=r"X\.y at byte 4: null element"):
        wire.read_vector(bytes.fromhex("00000001 ffffffff"), 0, "X.y", read, 4)


def test_a_map_keeps_its_order_and_its_later_keys() -> None:
    out = bytearray()
    wire.write_map(out, {"b": 1, "a": 2}, wire.write_ustring, wire.write_int)
    assert out == bytes.fromhex("00000002 0000000162 00000001 0000000161 00000002")
    read, end = wire.read_map(out, 0, "X.y", wire.read_some_ustring, wire.read_int, 8)
    assert list((read or {}).items()) == [("b", 1), ("a", 2)]
    assert end == len(out)
    twice = bytes.fromhex("00000002 0000000161 00000001 0000000161 00000002")
    assert wire.read_map(twice, 0, "X.y", wire.read_some_ustring, wire.read_int, 8)[0] == {"a": 2}


def test_a_null_map_is_not_an_empty_one() -> None:
    out = bytearray()
    wire.write_map(out, None, wire.write_int, wire.write_int)
    wire.write_map(out, {}, wire.write_int, wire.write_int)
    assert out == bytes.fromhex("ffffffff 00000000")
    assert wire.read_map(out, 0, "X.y", wire.read_int, wire.read_int, 8) == (None, 4)
    assert wire.read_map(out, 4, "X.y", wire.read_int, wire.read_int, 8) == ({}, 8)


def test_a_map_count_that_lies_is_refused() -> None:
    with pytest.raises(JuteError, match="count 1000000 of 8 bytes"):
        wire.read_map(struct.pack(">i", 1000000) + bytes(100), 0, "X.y", wire.read_int, wire.read_int, 8)


@given(st.binary(max_size=64), st.integers(0, 70))
def test_random_bytes_give_a_value_or_a_jute_error(raw: bytes, at: int) -> None:
    for read, *_ in SAMPLES:
        try:
            _, end = read(raw, at, "X.y")
        except JuteError:
            continue
        assert at < end <= len(raw)
