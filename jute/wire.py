"""The primitives of Jute's binary form, as functions: `read_x(buf, at, field) -> (value, next)`, `write_x(out, value)`.

Law: bytes from outside raise `JuteError` or give a value, nothing else; and no count or length found in them is
believed before it has been compared with the bytes that are really there: memory stays in proportion to the input.

    boolean  1 byte, written 0 or 1, read as "not zero"        float, double  4, 8 bytes, IEEE 754
    byte, int, long  1, 4, 8 bytes, signed                     buffer   int length, bytes; length -1 is null
    ustring  int length, UTF-8; length -1 is null              vector   int count, elements; count -1 is null
    map      int count, then key and value by turns; count -1 is null

All numbers are big-endian. `buf` is never copied as a whole; `field` is a constant used only in error texts, so that a
good read pays nothing for it. Writing a number that does not fit its width raises `struct.error`: a caller's bug.

Null elements of vectors and maps are refused, which Apache's decoder lets through only to fail on them later: in
exchange a vector of strings is a `list[str]`. A count below -1 is taken for zero, as Apache does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from struct import Struct, calcsize
from struct import error as StructError
from typing import Final, TypeAlias, TypeVar

from jute.errors import JuteError
from jute.record import Record

Buffer: TypeAlias = bytes | bytearray | memoryview

K = TypeVar("K")
V = TypeVar("V")

# Twice Apache's jute.maxbuffer (0xfffff): the extra half lets records be read that grew between the wire and the disk.
DEFAULT_MAX_LENGTH: Final = 2 * 1048575

# How deep a record may contain itself (only a recursive schema can). Far below Python's own recursion limit.
MAX_DEPTH: Final = 64

_BYTE: Final = Struct(">b")
_INT: Final = Struct(">i")
_LONG: Final = Struct(">q")
_FLOAT: Final = Struct(">f")
_DOUBLE: Final = Struct(">d")

_SUPPLEMENTARY: Final = re.compile("[\U00010000-\U0010ffff]")
_SURROGATE_BYTES: Final = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")

_max_length = DEFAULT_MAX_LENGTH


def set_max_length(n: int) -> None:
    """Refuse buffers and strings of more than `n` bytes from now on (Apache: jute.maxbuffer + extrasize)."""
    global _max_length
    assert n >= 0, f"a maximum length cannot be negative: {n}"
    _max_length = n


# Errors. These build the exception; the caller raises it.


def short(buf: Buffer, at: int, field: str, width: int) -> JuteError:
    """The error for a value of `width` bytes at `at` that `buf` is too short for."""
    return JuteError(field, at, f"needs {width} bytes, {max(0, len(buf) - at)} are left")


def short_run(buf: Buffer, at: int, run: Struct, record: str, fields: str) -> JuteError:
    """The error for a run of fixed-width fields cut short; of `fields` ("a b c") it names the first not whole."""
    for code, name in zip(run.format[1:], fields.split(), strict=True):
        width = calcsize(">" + code)
        if at + width > len(buf):
            return short(buf, at, f"{record}.{name}", width)
        at += width
    raise AssertionError(f"{record} is whole at {at}")


def too_deep(at: int, record: str) -> JuteError:
    """The error for a record that contains itself more than MAX_DEPTH times over."""
    return JuteError(record, at, f"nested more than {MAX_DEPTH} deep")


def _bad_length(buf: Buffer, at: int, field: str, length: int) -> JuteError:
    if length < -1:
        return JuteError(field, at, f"bad length {length}")
    if length > _max_length:
        return JuteError(field, at, f"length {length} is over the limit of {_max_length}")
    return JuteError(field, at, f"length {length}, but {len(buf) - at - 4} bytes are left")


# Numbers


def read_bool(buf: Buffer, at: int, field: str) -> tuple[bool, int]:
    """One byte; anything but zero is true."""
    if at >= len(buf):
        raise short(buf, at, field, 1)
    return buf[at] != 0, at + 1


def write_bool(out: bytearray, value: bool) -> None:
    """One byte, 0 or 1."""
    out.append(1 if value else 0)


def read_byte(buf: Buffer, at: int, field: str) -> tuple[int, int]:
    """One signed byte."""
    try:
        return _BYTE.unpack_from(buf, at)[0], at + 1
    except StructError:
        raise short(buf, at, field, 1) from None


def write_byte(out: bytearray, value: int) -> None:
    """One signed byte."""
    out += _BYTE.pack(value)


def read_int(buf: Buffer, at: int, field: str) -> tuple[int, int]:
    """Four bytes, signed."""
    try:
        return _INT.unpack_from(buf, at)[0], at + 4
    except StructError:
        raise short(buf, at, field, 4) from None


def write_int(out: bytearray, value: int) -> None:
    """Four bytes, signed."""
    out += _INT.pack(value)


def read_long(buf: Buffer, at: int, field: str) -> tuple[int, int]:
    """Eight bytes, signed."""
    try:
        return _LONG.unpack_from(buf, at)[0], at + 8
    except StructError:
        raise short(buf, at, field, 8) from None


def write_long(out: bytearray, value: int) -> None:
    """Eight bytes, signed."""
    out += _LONG.pack(value)


def read_float(buf: Buffer, at: int, field: str) -> tuple[float, int]:
    """Four bytes, IEEE 754."""
    try:
        return _FLOAT.unpack_from(buf, at)[0], at + 4
    except StructError:
        raise short(buf, at, field, 4) from None


def write_float(out: bytearray, value: float) -> None:
    """Four bytes, IEEE 754."""
    out += _FLOAT.pack(value)


def read_double(buf: Buffer, at: int, field: str) -> tuple[float, int]:
    """Eight bytes, IEEE 754."""
    try:
        return _DOUBLE.unpack_from(buf, at)[0], at + 8
    except StructError:
        raise short(buf, at, field, 8) from None


def write_double(out: bytearray, value: float) -> None:
    """Eight bytes, IEEE 754."""
    out += _DOUBLE.pack(value)


# Bytes and text


def read_buffer(buf: Buffer, at: int, field: str) -> tuple[bytes | None, int]:
    """Length and bytes, copied out of `buf`; None for null."""
    try:
        length: int = _INT.unpack_from(buf, at)[0]
    except StructError:
        raise short(buf, at, field, 4) from None
    end = at + 4 + length
    if 0 <= length <= _max_length and end <= len(buf):
        return bytes(buf[at + 4 : end]), end
    if length == -1:
        return None, at + 4
    raise _bad_length(buf, at, field, length)


def write_buffer(out: bytearray, value: bytes | None) -> None:
    """Length and bytes; None is null, which differs from empty."""
    if value is None:
        out += b"\xff\xff\xff\xff"
    else:
        out += _INT.pack(len(value))
        out += value


def read_ustring(buf: Buffer, at: int, field: str) -> tuple[str | None, int]:
    """Length and UTF-8; None for null. Bytes that are no UTF-8 become U+FFFD, as Java does it."""
    try:
        length: int = _INT.unpack_from(buf, at)[0]
    except StructError:
        raise short(buf, at, field, 4) from None
    end = at + 4 + length
    if 0 <= length <= _max_length and end <= len(buf):
        try:
            return str(buf[at + 4 : end], "utf-8"), end
        except UnicodeDecodeError:
            return _lenient_text(bytes(buf[at + 4 : end])), end
    if length == -1:
        return None, at + 4
    raise _bad_length(buf, at, field, length)


def write_ustring(out: bytearray, value: str | None) -> None:
    """Length and UTF-8; None is null. Characters above U+FFFF leave as two surrogates of three bytes each (CESU-8).

    So Apache's `BinaryOutputArchive.stringToByteBuffer` writes them, one UTF-16 unit at a time.
    """
    if value is None:
        out += b"\xff\xff\xff\xff"
        return
    raw = value.encode() if value.isascii() else _cesu8(value)
    out += _INT.pack(len(raw))
    out += raw


def _lenient_text(raw: bytes) -> str:
    # Java reads a three-byte surrogate, whole or cut, as one wrong character; Python would count each of its bytes.
    return _SURROGATE_BYTES.sub(b"\xef\xbf\xbd", raw).decode("utf-8", "replace")


def _cesu8(text: str) -> bytes:
    return _SUPPLEMENTARY.sub(_surrogates, text).encode("utf-8", "surrogatepass")


def _surrogates(found: re.Match[str]) -> str:
    offset = ord(found[0]) - 0x10000
    return chr(0xD800 + (offset >> 10)) + chr(0xDC00 + (offset & 0x3FF))


# Elements of vectors and maps: the same two, but never null


def read_some_buffer(buf: Buffer, at: int, field: str) -> tuple[bytes, int]:
    """A buffer that may not be null."""
    value, end = read_buffer(buf, at, field)
    if value is None:
        raise JuteError(field, at, "null element")
    return value, end


def read_some_ustring(buf: Buffer, at: int, field: str) -> tuple[str, int]:
    """A string that may not be null."""
    value, end = read_ustring(buf, at, field)
    if value is None:
        raise JuteError(field, at, "null element")
    return value, end


# Vectors and maps. `least` is the smallest number of bytes one element can take, never zero: with it a false count is
# known before a single element has been read.


def read_count(buf: Buffer, at: int, field: str, least: int) -> tuple[int, int]:
    """The count in front of a vector or map: -1 for null, else one that the bytes left could hold."""
    count, start = read_int(buf, at, field)
    if count < -1:
        return 0, start  # as Apache's decoder takes it: nothing to read, but not null
    left = len(buf) - start
    if count * least > left:
        raise JuteError(field, at, f"count {count} of {least} bytes or more each, but {left} bytes are left")
    return count, start


def read_vector(
    buf: Buffer, at: int, field: str, read: Callable[[Buffer, int, str], tuple[V, int]], least: int
) -> tuple[list[V] | None, int]:
    """A vector whose elements `read` reads; None for null."""
    count, at = read_count(buf, at, field, least)
    if count < 0:
        return None, at
    values: list[V] = []
    for _ in range(count):
        value, at = read(buf, at, field)
        values.append(value)
    return values, at


def write_vector(out: bytearray, values: Sequence[V] | None, write: Callable[[bytearray, V], None]) -> None:
    """A vector whose elements `write` writes; None is null."""
    if values is None:
        out += b"\xff\xff\xff\xff"
        return
    out += _INT.pack(len(values))
    for value in values:
        write(out, value)


def read_records(
    buf: Buffer, at: int, field: str, decode: Callable[[Buffer, int], tuple[V, int]], least: int
) -> tuple[list[V] | None, int]:
    """A vector of records; None for null. An error inside names the inner record's field."""
    count, at = read_count(buf, at, field, least)
    if count < 0:
        return None, at
    values: list[V] = []
    for _ in range(count):
        value, at = decode(buf, at)
        values.append(value)
    return values, at


def write_records(out: bytearray, values: Sequence[Record] | None) -> None:
    """A vector of records; None is null."""
    if values is None:
        out += b"\xff\xff\xff\xff"
        return
    out += _INT.pack(len(values))
    for value in values:
        value.encode(out)


def read_map(
    buf: Buffer,
    at: int,
    field: str,
    read_key: Callable[[Buffer, int, str], tuple[K, int]],
    read_value: Callable[[Buffer, int, str], tuple[V, int]],
    least: int,
) -> tuple[dict[K, V] | None, int]:
    """A map; None for null. Of two equal keys the later one counts. `least` is for a key and a value together."""
    count, at = read_count(buf, at, field, least)
    if count < 0:
        return None, at
    values: dict[K, V] = {}
    for _ in range(count):
        key, at = read_key(buf, at, field)
        values[key], at = read_value(buf, at, field)
    return values, at


def write_map(
    out: bytearray,
    values: Mapping[K, V] | None,
    write_key: Callable[[bytearray, K], None],
    write_value: Callable[[bytearray, V], None],
) -> None:
    """A map in its own order; None is null."""
    if values is None:
        out += b"\xff\xff\xff\xff"
        return
    out += _INT.pack(len(values))
    for key, value in values.items():
        write_key(out, key)
        write_value(out, value)
