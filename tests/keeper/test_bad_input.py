"""Bad input harms its own connection at most: an error, or the end of it; nobody else notices (sections 1, 2 and 4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keeper.harness import OPEN, Client, Reply, World, multi_body, set_op
from zkpy.keeper.prepare import WRITES
from zkpy.keeper.reads import READS
from zkpy.proto import errors, opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import CreateRequest, SetACLRequest

BODILESS = {opcodes.PING, opcodes.WHO_AM_I, opcodes.CLOSE_SESSION}
CLIENT_WRITES = sorted(WRITES - {opcodes.CREATE_SESSION, opcodes.DELETE_CONTAINER} - BODILESS)
DECODED_READS = sorted(READS.keys() - BODILESS)


@pytest.mark.parametrize("op", CLIENT_WRITES + DECODED_READS)
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0\5/a", b"\x7f\xff\xff\xff/a", b"\xff\xff\xff\xfe", b"\x80\0\0\0"])
def test_undecodable_body_is_an_error_and_no_more(world: World, client: Client, op: int, body: bytes) -> None:
    other = world.client()
    digest = world.tree.digest
    assert client.call(op, body).err == errors.MARSHALLINGERROR
    assert not client.is_closed
    assert client.exists("/").err == 0
    assert other.exists("/").err == 0
    assert world.tree.digest == digest == world.keeper.outstanding.digest


@pytest.mark.parametrize("op", [0, 10, 13, 20, 23, 99, 108, 999, -1, -2, -10, 2**31 - 1, -(2**31)])
def test_unknown_operation_is_answered_and_then_closed(world: World, client: Client, op: int) -> None:
    other = world.client()
    zxid = world.tree.last_zxid
    client.send(client.request(op), client.request(opcodes.PING))
    assert client.take() == [Reply(1, -1, errors.UNIMPLEMENTED)], "what follows is dropped"
    assert client.is_closed
    assert world.tree.last_zxid == zxid
    assert client.session_id in world.tree.sessions.timeouts
    assert other.exists("/").err == 0


@pytest.mark.parametrize("length", [-1, -(2**31), 0x100000, 2**31 - 1, int.from_bytes(b"ruok")])
def test_hostile_length_closes_the_connection(world: World, client: Client, length: int) -> None:
    client.send(client.request(opcodes.PING), length.to_bytes(4, "big", signed=True))
    assert [packet.xid for packet in client.take() if isinstance(packet, Reply)] == [-2], "what came before is served"
    assert client.is_closed
    assert not world.keeper.connections


@pytest.mark.parametrize("size", range(8))
def test_frame_too_short_for_a_header_closes_the_connection(world: World, client: Client, size: int) -> None:
    client.send(frame(bytes(size)))
    assert client.take() == []
    assert client.is_closed


def test_frame_of_exactly_the_limit_is_legal(client: Client) -> None:
    head = len(CreateRequest("/a", b"", OPEN, 0).to_bytes()) + 8
    assert client.create("/a", b"x" * (0xFFFFF - head)).err == 0
    client.post(opcodes.CREATE, CreateRequest("/b", b"x" * (0xFFFFF - head + 1), OPEN, 0))
    assert client.take() == []
    assert client.is_closed


def test_smaller_limit_holds_too() -> None:
    world = World(max_frame=100)
    client = world.client()
    client.send(frame(bytes(101)))
    assert client.is_closed


def test_half_a_frame_waits_for_the_rest(world: World, client: Client) -> None:
    request = client.request(opcodes.PING)
    client.send(request[:5])
    assert client.take() == []
    client.send(request[5:] + request)
    assert len(client.take()) == 2


def test_large_requests_in_flight_are_bounded() -> None:
    world = World(large_request_threshold=1000, large_request_max_bytes=5000)
    client, other = world.client(), world.client()
    world.holds_log = True
    for number in range(3):
        client.post(opcodes.CREATE, CreateRequest(f"/{number}", bytes(1500), OPEN, 0))
    other.post(opcodes.CREATE, CreateRequest("/x", bytes(1500), OPEN, 0))
    assert other.is_closed
    world.sync()
    assert len(client.take()) == 3
    world.holds_log = False
    assert client.create("/3", bytes(1500)).err == 0, "what is done with is not counted any more"
    assert "/x" not in world.tree.nodes
    world.check()


def test_refused_large_requests_are_not_counted_for_ever() -> None:
    world = World(large_request_threshold=1000, large_request_max_bytes=5000)
    client = world.client()
    for _ in range(10):
        assert client.call(opcodes.DELETE, b"\xff" * 2000).err == errors.MARSHALLINGERROR
        assert client.create("/missing/a", bytes(2000)).err == errors.NONODE
    assert not client.is_closed


@pytest.mark.parametrize("op", [opcodes.AUTH, opcodes.SASL])
def test_undecodable_auth_closes_the_connection(world: World, client: Client, op: int) -> None:
    client.send(client.request(op, b"\0"))
    assert client.take() == []
    assert client.is_closed


def test_vector_that_claims_more_than_there_is_costs_nothing(client: Client) -> None:
    huge = b"\0\0\0\2/a\0\0\0\0" + b"\x00\x0f\xff\xff"
    assert client.call(opcodes.CREATE, huge + b"\0\0\0\0").err == errors.MARSHALLINGERROR
    assert client.call(opcodes.SET_ACL, b"\0\0\0\2/a\x7f\xff\xff\xff").err == errors.MARSHALLINGERROR


def test_null_scheme_or_id_does_no_harm(client: Client) -> None:
    null = b"\xff\xff\xff\xff"
    whole = SetACLRequest("/", OPEN, -1).to_bytes()
    without_id = whole.replace(b"\0\0\0\6anyone", null)
    without_scheme = whole.replace(b"\0\0\0\5world", null)
    assert client.call(opcodes.SET_ACL, without_id).err == errors.MARSHALLINGERROR
    assert client.call(opcodes.SET_ACL, without_scheme).err == errors.INVALIDACL


def test_bytes_that_are_no_utf8_make_no_node(client: Client) -> None:
    body = CreateRequest("/ab", b"", OPEN, 0).to_bytes()
    for garbage in (b"/\xff\xfe", b"/\xc3(", b"/\xed\xa0"):
        assert client.call(opcodes.CREATE, body.replace(b"/ab", garbage)).err == errors.BADARGUMENTS


def test_bytes_after_a_close_are_nobodys(world: World, client: Client) -> None:
    client.post(99)
    client.take()
    client.send(client.request(opcodes.CREATE, CreateRequest("/late", b"", OPEN, 0)))
    assert client.take() == []
    assert "/late" not in world.tree.nodes


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CLIENT_WRITES + DECODED_READS), st.binary(max_size=60))
def test_random_bodies_never_break_the_server(op: int, body: bytes) -> None:
    world = World()
    client = world.client()
    client.send(client.request(op, body))
    assert len(client.take()) == 1
    assert not client.is_closed
    world.check()


WHOLE = [
    (opcodes.CREATE, CreateRequest("/n", b"data", OPEN, 0).to_bytes()),
    (opcodes.SET_ACL, SetACLRequest("/", OPEN, -1).to_bytes()),
    (opcodes.MULTI, multi_body(set_op("/"), set_op("/", b"xy"))),
]


@pytest.mark.parametrize(("op", "body"), WHOLE)
def test_body_cut_anywhere_is_undecodable(op: int, body: bytes) -> None:
    world = World()
    client = world.client()
    client.create("/warm", b"data")  # so that the usual ACL is known and takes the short way
    for at in range(len(body)):
        assert client.call(op, body[:at]).err == errors.MARSHALLINGERROR, at
    assert client.call(op, body).err == 0
    world.check()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.integers(0, 200), st.integers(0, 255))
def test_body_with_one_byte_changed_never_breaks_the_server(request: tuple[int, bytes], at: int, value: int) -> None:
    op, body = request
    spoilt = bytearray(body)
    spoilt[at % len(spoilt)] = value
    world = World()
    client = world.client()
    client.create("/warm", b"data")
    client.send(client.request(op, bytes(spoilt)))
    assert len(client.take()) == 1
    assert not client.is_closed
    world.check()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_random_streams_close_their_own_connection_at_most(pieces: list[bytes]) -> None:
    world = World()
    other = world.client()
    stranger = world.open()
    stranger.speaks_frames = False
    for piece in pieces:
        stranger.send(piece)
    assert other.create("/fine").err == 0
    world.check()
