"""The election port's two messages: whole, cut, in every version that a peer sends, and hostile."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.proto.errors import ProtocolError
from zkpy.proto.notification import (
    ADDRESSES_LIMIT,
    ANONYMOUS,
    FOLLOWING,
    LEADING,
    LOOKING,
    InitialMessage,
    Notification,
)

CONFIG = b"server.1=a:1:2:participant\nversion=0"
SAMPLE = Notification(FOLLOWING, 3, 0x500000007, 9, 5, CONFIG)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)


def test_notification_is_laid_out_as_apache_lays_it_out() -> None:
    assert SAMPLE.encode() == pack(">iqqqqii", 1, 3, 0x500000007, 9, 5, 2, len(CONFIG)) + CONFIG


@given(st.sampled_from((0, 1, 2, 3)), LONGS, LONGS, LONGS, LONGS, st.binary(max_size=200))
def test_notification_reads_back(state: int, leader: int, zxid: int, round_: int, epoch: int, config: bytes) -> None:
    notification = Notification(state, leader, zxid, round_, epoch, config)
    assert Notification.decode(notification.encode()) == notification


def test_notification_of_28_bytes_has_the_epoch_of_its_zxid() -> None:
    message = pack(">iqqq", LOOKING, 2, 0x700000001, 4)
    assert Notification.decode(message) == Notification(LOOKING, 2, 0x700000001, 4, 7, None, 0)


def test_notification_of_40_bytes_has_no_version_however_it_says() -> None:
    message = pack(">iqqqqi", LEADING, 2, 0x700000001, 4, 8, 1)
    assert Notification.decode(message) == Notification(LEADING, 2, 0x700000001, 4, 8, None, 0)


def test_notification_of_version_1_has_no_configuration() -> None:
    message = pack(">iqqqqii", LEADING, 2, 0x700000001, 4, 8, 1, -5)
    assert Notification.decode(message) == Notification(LEADING, 2, 0x700000001, 4, 8, None, 1)


def test_notification_with_bytes_behind_its_configuration_is_read() -> None:
    assert Notification.decode(SAMPLE.encode() + b"tail") == SAMPLE


def test_every_cut_of_a_notification_is_an_old_one_or_refused() -> None:
    whole = SAMPLE.encode()
    for size in range(len(whole)):
        if size in (28, 40):
            assert Notification.decode(whole[:size]).config is None
        else:
            with pytest.raises(ProtocolError):
                Notification.decode(whole[:size])


@pytest.mark.parametrize("state", [-1, 4, 1 << 30])
def test_notification_of_no_known_state_is_refused(state: int) -> None:
    with pytest.raises(ProtocolError, match="state"):
        Notification.decode(pack(">iqqqqii", state, 1, 1, 1, 1, 2, 0))


@pytest.mark.parametrize("length", [-1, 1, 1 << 30])
def test_notification_whose_configuration_has_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="configuration"):
        Notification.decode(pack(">iqqqqii", LOOKING, 1, 1, 1, 1, 2, length))


@given(st.binary(max_size=100))
def test_any_message_is_a_notification_or_refused(message: bytes) -> None:
    try:
        notification = Notification.decode(message)
    except ProtocolError:
        return
    assert repr(notification)


def test_initial_message_of_one_address_is_version_1() -> None:
    message = InitialMessage(3, [("zoo3", 3888)])
    assert message.encode() == pack(">qqi", -65536, 3, 9) + b"zoo3:3888"
    assert InitialMessage.decode(message.encode() + b"more") == (message, 29)


def test_initial_message_of_two_addresses_is_version_2() -> None:
    message = InitialMessage(3, [("zoo3", 3888), ("::1", 3889)])
    assert message.encode() == pack(">qqi", -65535, 3, 20) + b"zoo3:3888|[::1]:3889"
    assert InitialMessage.decode(message.encode()) == (message, 40)


def test_initial_message_of_an_old_server_is_its_sid() -> None:
    assert InitialMessage.decode(pack(">q", 5)) == (InitialMessage(5, []), 8)


def test_initial_message_that_is_not_whole_waits_for_more() -> None:
    whole = InitialMessage(ANONYMOUS, [("10.0.0.1", 3888)]).encode()
    for size in range(len(whole)):
        assert InitialMessage.decode(whole[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        pack(">q", -1),
        pack(">q", -65537),
        pack(">qqi", -65536, 1, 0),
        pack(">qqi", -65536, 1, -1),
        pack(">qqi", -65536, 1, ADDRESSES_LIMIT + 1),
        pack(">qqi", -65536, 1, 2) + b"\xff\xff",
        *(
            pack(">qqi", -65535, 1, len(text)) + text
            for text in (b"host", b":1", b"host:", b"host:x", b"a:b:1", b"h:65536", b"h:1|", b"h:-1", "h:²".encode())
        ),
    ],
)
def test_initial_message_that_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        InitialMessage.decode(data)


@given(st.binary(max_size=64))
def test_any_bytes_are_an_initial_message_or_wait_or_are_refused(data: bytes) -> None:
    try:
        InitialMessage.decode(pack(">q", -65536) + data)
    except ProtocolError:
        return
