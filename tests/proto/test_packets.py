"""The quorum port: packets come out of a byte stream whole, in order, and no length is believed."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.proto import packets
from zkpy.proto.errors import ProtocolError
from zkpy.proto.packets import IDENTITIES_LIMIT, PacketStream, encode
from zkpy.proto.records import Id, QuorumPacket

SAMPLES = [
    QuorumPacket(packets.PING, 7, None, None),
    QuorumPacket(packets.PROPOSAL, 0x100000002, b"txn" * 50, None),
    QuorumPacket(packets.REQUEST, -1, b"", [Id("digest", "ann:x"), Id("ip", None)]),
    QuorumPacket(packets.COMMIT, 0x100000002, None, []),
]
BYTES = b"".join([sample.to_bytes() for sample in SAMPLES])


def test_packet_without_identities_is_encoded_as_the_record_is() -> None:
    assert encode(packets.COMMIT, 9) == QuorumPacket(packets.COMMIT, 9, None, None).to_bytes()
    assert encode(packets.PROPOSAL, 9, b"txn") == QuorumPacket(packets.PROPOSAL, 9, b"txn", None).to_bytes()


@pytest.mark.parametrize("identities", [None, [], [Id("ip", "127.0.0.1")]])
def test_request_is_encoded_as_the_record_is(identities: list[Id] | None) -> None:
    data = packets.FORWARDED.pack(-5, 6, 7) + b"body"
    encoded = packets.encode_request(-5, 6, 7, b"body", packets.encode_identities(identities))
    assert encoded == QuorumPacket(packets.REQUEST, -1, data, identities).to_bytes()


def test_requests_of_the_same_and_of_other_clients_come_out_with_their_own_identities() -> None:
    ann, bob = [Id("ip", "10.0.0.1")], [Id("ip", "10.0.0.1"), Id("digest", "bob:x")]
    samples = [QuorumPacket(packets.REQUEST, -1, b"x", who) for who in (ann, ann, bob, ann, None, ann, bob, bob, [])]
    encoded = b"".join([sample.to_bytes() for sample in samples])
    assert PacketStream().feed(encoded) == samples
    for cut in range(len(encoded)):
        stream = PacketStream()
        assert stream.feed(encoded[:cut]) + stream.feed(encoded[cut:]) == samples


def test_packets_come_out_whole_and_in_order() -> None:
    assert PacketStream().feed(BYTES) == SAMPLES


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 21, 100])
def test_packets_come_out_of_small_pieces(size: int) -> None:
    stream = PacketStream()
    found = []
    for at in range(0, len(BYTES), size):
        found += stream.feed(BYTES[at : at + size])
    assert found == SAMPLES
    assert stream.take_rest() == b""


def test_packet_that_is_cut_anywhere_comes_with_the_rest_of_it() -> None:
    for cut in range(len(BYTES)):
        stream = PacketStream()
        assert stream.feed(BYTES[:cut]) + stream.feed(BYTES[cut:]) == SAMPLES


def test_what_follows_a_snap_is_left_for_the_reader_of_the_image() -> None:
    stream = PacketStream()
    snap = encode(packets.SNAP, 5)
    assert [packet.type for packet in stream.feed(BYTES + snap + b"\0\0\0\x01image")] == [5, 2, 1, 4, packets.SNAP]
    assert stream.take_rest() == b"\0\0\0\x01image"
    assert stream.feed(BYTES) == SAMPLES


@pytest.mark.parametrize(
    "wrong",
    [
        pack(">iqi", 2, 1, -2),
        pack(">iqi", 2, 1, 1001),
        pack(">iqii", 2, 1, -1, IDENTITIES_LIMIT + 1),
        pack(">iqiii", 2, 1, -1, 1, 1001),
        pack(">iqiii", 2, 1, -1, 1, -2),
    ],
)
def test_length_that_cannot_be_is_not_waited_for(wrong: bytes) -> None:
    with pytest.raises(ProtocolError):
        PacketStream(1000).feed(encode(packets.PING, 0) + wrong)


def test_longest_packet_is_let_through() -> None:
    packet = QuorumPacket(packets.PROPOSAL, 1, bytes(1000), None)
    assert PacketStream(1000).feed(packet.to_bytes()) == [packet]


@given(st.binary(max_size=80), st.integers(1, 80))
def test_any_bytes_are_packets_or_wait_or_are_refused(data: bytes, cut: int) -> None:
    stream = PacketStream(1000)
    try:
        stream.feed(data[:cut])
        stream.feed(data[cut:])
    except ProtocolError:
        return


def test_every_packet_type_has_its_name() -> None:
    assert sorted(packets.NAMES) == list(range(1, 20))
    assert all(getattr(packets, name) == number for number, name in packets.NAMES.items())
