"""Snappy, as much of it as snapshots need: any block can be read; blocks are written as plain literals.

stream   82 "SNAPPY" 00, version int 1, compatible int 1, then chunks: int length, block (the xerial framing)
block    varint of the plain size, then elements: a literal, or a copy of what was written before
"""

from struct import Struct
from typing import Final

MAGIC: Final = b"\x82SNAPPY\0"
HEADER: Final = MAGIC + b"\0\0\0\1\0\0\0\1"
#: Plain bytes per chunk when writing.
CHUNK: Final = 1 << 15

_INT: Final = Struct(">i")


def compress_chunk(data: bytes) -> bytes:
    """One chunk with its length; `data` of at most CHUNK bytes and not empty."""
    size = len(data)
    assert 0 < size <= CHUNK
    literal = size - 1
    head = bytes((literal << 2,)) if literal < 60 else bytes((61 << 2, literal & 0xFF, literal >> 8))
    block = _varint(size) + head + data
    return _INT.pack(len(block)) + block


def decompress(stream: bytes) -> bytes:
    """The plain bytes of a stream. Raises ValueError for damage."""
    if len(stream) < len(HEADER) or not stream.startswith(MAGIC):
        raise ValueError("not a snappy stream")
    parts = []
    at = len(HEADER)
    while at < len(stream):
        if at + 4 > len(stream):
            raise ValueError(f"a chunk is cut short at {at}")
        (length,) = _INT.unpack_from(stream, at)
        at += 4
        if not 0 <= length <= len(stream) - at:
            raise ValueError(f"a chunk at {at} has the length {length}")
        parts.append(_block(stream[at : at + length]))
        at += length
    return b"".join(parts)


def _block(block: bytes) -> bytes:
    try:
        size, at = _read_varint(block)
        out = bytearray()
        while at < len(block):
            tag = block[at]
            at += 1
            kind = tag & 3
            if kind == 0:
                length = tag >> 2
                if length >= 60:
                    width = length - 59
                    length = int.from_bytes(block[at : at + width], "little")
                    at += width
                length += 1
                if at + length > len(block):
                    raise ValueError("a literal is cut short")
                out += block[at : at + length]
                at += length
                continue
            if kind == 1:
                length = (tag >> 2 & 7) + 4
                offset = tag >> 5 << 8 | block[at]
                at += 1
            else:
                width = 2 if kind == 2 else 4
                length = (tag >> 2) + 1
                offset = int.from_bytes(block[at : at + width], "little")
                at += width
            if not 0 < offset <= len(out) or len(out) + length > size:
                raise ValueError("a copy reaches outside of what was written")
            start = len(out) - offset
            if length <= offset:
                out += out[start : start + length]
            else:  # it repeats what it has just written
                out += (out[start:] * (length // offset + 1))[:length]
    except IndexError:
        raise ValueError("a block is cut short") from None
    if len(out) != size:
        raise ValueError(f"a block holds {len(out)} bytes and says {size}")
    return bytes(out)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes) -> tuple[int, int]:
    number = shift = at = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
