"""The framer: whole, in pieces of every size, at its limit, and against lengths that lie."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.proto.errors import ProtocolError
from zkpy.proto.frames import DEFAULT_LIMIT, Framer, frame

BODIES = [b"", b"a", b"\0\0\0\1", bytes(300), b"last"]


def test_a_frame_is_its_length_and_its_body() -> None:
    assert frame(b"abc") == b"\0\0\0\3abc"
    assert frame(bytearray()) == b"\0\0\0\0"


def test_frames_that_arrive_at_once_leave_at_once() -> None:
    framer = Framer()
    assert framer.feed(b"".join(map(frame, BODIES))) == BODIES
    assert framer.pending == 0


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 64])
def test_frames_survive_any_cut(size: int) -> None:
    stream = b"".join(map(frame, BODIES))
    framer = Framer()
    found: list[bytes] = []
    for at in range(0, len(stream), size):
        found += framer.feed(stream[at : at + size])
    assert found == BODIES
    assert framer.pending == 0
    assert all(type(body) is bytes for body in found)


@given(st.lists(st.binary(max_size=40)), st.randoms(use_true_random=False))
def test_frames_survive_random_cuts(bodies: list[bytes], dice: random.Random) -> None:
    stream = b"".join(map(frame, bodies))
    framer = Framer()
    found: list[bytes] = []
    at = 0
    while at < len(stream):
        size = dice.randint(0, 30)
        found += framer.feed(stream[at : at + size])
        at += size
    assert found == bodies


def test_pending_counts_the_bytes_of_the_frame_that_is_not_whole() -> None:
    framer = Framer()
    assert framer.feed(frame(b"whole") + b"\0\0") == [b"whole"]
    assert framer.pending == 2
    assert framer.feed(b"\0\3ab") == []
    assert framer.pending == 6
    assert framer.feed(b"c\0") == [b"abc"]
    assert framer.pending == 1


def test_no_bytes_change_nothing() -> None:
    framer = Framer()
    assert framer.feed(b"") == []
    framer.feed(b"\0\0")
    assert framer.feed(b"") == []
    assert framer.feed(b"\0\0") == [b""]


def test_a_frame_of_exactly_the_limit_is_allowed_and_one_more_is_not() -> None:
    assert Framer(10).feed(frame(bytes(10))) == [bytes(10)]
    with pytest.raises(ProtocolError, match="frame length 11 is not between 0 and 10"):
        Framer(10).feed(frame(bytes(11)))


@pytest.mark.parametrize("length", [-1, -(2**31), DEFAULT_LIMIT + 1, 0x72756F6B])
def test_a_length_that_lies_is_refused_by_its_first_four_bytes(length: int) -> None:
    framer = Framer()
    raw = length.to_bytes(4, signed=True)
    assert framer.feed(raw[:3]) == []
    with pytest.raises(ProtocolError, match=f"frame length {length} "):
        framer.feed(raw[3:])
    assert framer.error is not None


def test_frames_before_a_length_that_lies_come_first_and_the_error_stays() -> None:
    framer = Framer()
    assert framer.feed(frame(b"a") + frame(b"b") + b"\xff\xff\xff\xff" + frame(b"lost")) == [b"a", b"b"]
    assert "frame length -1 " in str(framer.error)
    for _ in range(2):
        with pytest.raises(ProtocolError, match="frame length -1 "):
            framer.feed(frame(b"c"))
    assert framer.pending == 0


def test_work_grows_with_the_bytes_and_not_with_the_square_of_the_pieces() -> None:
    def seconds(size: int) -> float:
        framer, stream = Framer(), frame(bytes(size))
        start = time.process_time()
        found = [body for at in range(0, len(stream), 16) for body in framer.feed(stream[at : at + 16])]
        taken = time.process_time() - start
        assert found == [bytes(size)]
        return taken

    small = min(seconds(DEFAULT_LIMIT // 8) for _ in range(3))
    large = min(seconds(DEFAULT_LIMIT) for _ in range(3))
    assert large < small * 8 * 4  # eight times the bytes; a square would take sixty-four times as long
