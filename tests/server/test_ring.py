"""Many sockets in one system call say and hear what they would alone."""

import errno
import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from zkpy.server.ring import Receiver, Ring, Sender

PATIENCE_S = 30.0

try:
    Ring(0, 0, 1).close()
except OSError as missing:
    pytestmark = pytest.mark.skip(reason=f"this kernel lets us have no io_uring: {missing}")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Eight pairs of connected sockets, ours and theirs; ours do not block."""
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(8)]
        for ours, theirs in made:
            ours.setblocking(False)
            theirs.settimeout(PATIENCE_S)
            stack.enter_context(ours)
            stack.enter_context(theirs)
        yield made


@pytest.fixture
def sender() -> Iterator[Sender]:
    """A sender for eight sockets."""
    made = Sender(8)
    yield made
    made.close()


def fds_of(pairs: list[Pair]) -> list[int]:
    return [ours.fileno() for ours, _ in pairs]


def hear(theirs: socket.socket, size: int) -> bytes:
    """So many bytes, once they have come."""
    heard = b""
    while len(heard) < size:
        data = theirs.recv(size - len(heard))
        assert data, f"the end after {len(heard)} of {size} bytes"
        heard += data
    return heard


# --- receiving ----------------------------------------------------------------------------------------------------


def test_what_each_has_said_is_received_in_the_order_asked_for(pairs: list[Pair]) -> None:
    receiver = Receiver(8)
    for number, (_, theirs) in enumerate(pairs):
        theirs.send(b"%d" % number * (number + 1))
    backwards = list(reversed(pairs))
    assert receiver.receive(fds_of(backwards)) == [b"%d" % number * (number + 1) for number in range(7, -1, -1)]
    receiver.close()


def test_silence_an_end_and_a_fault_are_told_apart(pairs: list[Pair]) -> None:
    receiver = Receiver(8)
    pairs[0][1].close()
    pairs[2][1].send(b"x")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()  # with a reset
            fds = [*fds_of(pairs[:3]), server.fileno()]
            assert receiver.receive(fds) == [b"", None, b"x", None]
    receiver.close()


def test_whoever_says_more_than_there_is_room_for_is_heard_in_pieces(pairs: list[Pair]) -> None:
    receiver = Receiver(2)
    said = [random.Random(at).randbytes(3 * Receiver.ROOM // 2) for at in range(2)]
    for (_, theirs), data in zip(pairs, said, strict=False):
        theirs.send(data)
    first = receiver.receive(fds_of(pairs[:2]))
    second = receiver.receive(fds_of(pairs[:2]))
    assert [one for one in first if one is not None] == [data[: Receiver.ROOM] for data in said]
    assert [one for one in second if one is not None] == [data[Receiver.ROOM :] for data in said]
    receiver.close()


def test_the_queues_go_round_many_times(pairs: list[Pair], sender: Sender) -> None:
    receiver = Receiver(8)
    dice = random.Random(1)
    for number in range(500):
        some = dice.sample(pairs, dice.randint(1, 8))
        said = [b"%d-%d" % (number, at) for at in range(len(some))]
        assert sender.send(fds_of(some), [len(data) for data in said], said) == []
        theirs = [theirs.fileno() for _, theirs in some]
        assert receiver.receive(theirs) == said
    receiver.close()


# --- sending ------------------------------------------------------------------------------------------------------


def test_each_is_sent_its_own_bytes(pairs: list[Pair], sender: Sender) -> None:
    said = [os.urandom(at * 100 + 1) for at in range(8)]
    parts = [piece for data in said for piece in (data[:1], data[1:]) if piece]
    assert sender.send(fds_of(pairs), [len(data) for data in said], parts) == []
    assert [hear(theirs, len(data)) for (_, theirs), data in zip(pairs, said, strict=True)] == said


def test_what_the_kernel_did_not_take_is_left_over(pairs: list[Pair], sender: Sender) -> None:
    large = os.urandom(1 << 20)
    said = [b"a", large, b"b"]
    ((place, rest, number),) = sender.send(fds_of(pairs[:3]), [len(data) for data in said], said)
    assert (place, number) == (1, 0)
    assert 0 < len(rest) < len(large)
    assert [hear(theirs, 1) for _, theirs in (pairs[0], pairs[2])] == [b"a", b"b"]
    assert hear(pairs[1][1], len(large) - len(rest)) + rest == large


def test_a_full_socket_takes_nothing_and_holds_up_nobody(pairs: list[Pair], sender: Sender) -> None:
    full = pairs[0][0]
    with suppress(BlockingIOError):
        while True:
            full.send(bytes(1 << 16))
    assert sender.send(fds_of(pairs[:2]), [3, 3], [b"abc", b"def"]) == [(0, b"abc", 0)]
    assert hear(pairs[1][1], 3) == b"def"


def test_a_socket_whose_other_end_is_gone_is_named_with_its_fault(pairs: list[Pair], sender: Sender) -> None:
    pairs[1][1].close()
    assert sender.send(fds_of(pairs[:3]), [1, 1, 1], [b"a", b"b", b"c"]) == [(1, b"b", errno.EPIPE)]
    assert [hear(theirs, 1) for _, theirs in (pairs[0], pairs[2])] == [b"a", b"c"]


def test_closing_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    sender, receiver = Sender(64), Receiver(64)
    assert len(os.listdir("/proc/self/fd")) > before
    sender.close()
    receiver.close()
    assert len(os.listdir("/proc/self/fd")) == before
