"""Snappy: blocks of every kind are read, ours are valid, and damage is refused."""

import random

import pytest

from zkpy.storage import snappy


def framed(*blocks: bytes) -> bytes:
    return snappy.HEADER + b"".join(len(block).to_bytes(4, "big") + block for block in blocks)


@pytest.mark.parametrize("size", [1, 59, 60, 61, 62, 255, 256, 257, 32767, 32768])
def test_what_was_written_is_read_again(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert snappy.decompress(snappy.HEADER + snappy.compress_chunk(data)) == data


def test_a_stream_may_be_empty() -> None:
    assert snappy.decompress(snappy.HEADER) == b""


@pytest.mark.parametrize(
    ("block", "plain"),
    [
        (b"\x05\x10hello", b"hello"),
        # A copy of every width: one byte of offset, two, four.
        (b"\x09\x10hello" + b"\x01\x05", b"hellohell"),
        (b"\x0a\x10hello" + b"\x12\x05\x00", b"hellohello"),
        (b"\x0a\x10hello" + b"\x13\x05\x00\x00\x00", b"hellohello"),
        # A copy that overlaps itself repeats.
        (b"\x0c\x00a" + b"\x1d\x01", b"a" * 12),
        (b"\x0b\x04ab" + b"\x22\x02\x00", b"ababababab" + b"a"),
        # A literal with its length in one, two, three and four bytes.
        (b"\x05\xf0\x04hello", b"hello"),
        (b"\x05\xf4\x04\x00hello", b"hello"),
        (b"\x05\xf8\x04\x00\x00hello", b"hello"),
        (b"\x05\xfc\x04\x00\x00\x00hello", b"hello"),
        (b"\x00", b""),
    ],
)
def test_every_kind_of_element_is_read(block: bytes, plain: bytes) -> None:
    assert snappy.decompress(framed(block)) == plain
    assert snappy.decompress(framed(block, b"\x05\x10hello")) == plain + b"hello"


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\x82SNAPP",
        snappy.MAGIC + b"\0\0\0\1",
        snappy.HEADER + b"\0\0\0",
        snappy.HEADER + b"\0\0\0\x08\x05",
        snappy.HEADER + b"\xff\xff\xff\xff\x05",
        framed(b""),
        framed(b"\x80"),
        framed(b"\x80\x80\x80\x80\x80\x80\x01\x00a"),
        framed(b"\x05\x10hell"),
        framed(b"\x06\x10hello"),
        framed(b"\x04\x10hello"),
        framed(b"\x09\x10hello\x01"),
        framed(b"\x09\x10hello\x12\x05"),
        framed(b"\x09\x10hello\x01\x06"),
        framed(b"\x09\x10hello\x01\x00"),
        framed(b"\x08\x10hello\x01\x05"),
        framed(b"\x05\xf0"),
    ],
)
def test_damage_is_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"snappy|chunk|block|literal|copy|stream"):
        snappy.decompress(stream)


def test_a_damaged_stream_is_refused_or_read_but_nothing_else() -> None:
    dice = random.Random(1)
    good = framed(b"\x0b\x04ab\x22\x02\x00", b"\x09\x10hello\x01\x05", b"\x0a\x10hello\x13\x05\x00\x00\x00")
    for _ in range(3000):
        broken = bytearray(good)
        for _ in range(dice.randrange(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            snappy.decompress(bytes(broken))
        except ValueError:
            pass
