"""The handshake: a new session, coming back to one, and every way to be turned away (client protocol, section 2)."""

import pytest

from tests.keeper.harness import START_MS, WALL_MS, Client, Reply, World, stat_of
from zkpy.keeper.sessions import first_session_id, password
from zkpy.proto import opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import AuthPacket, ConnectRequest, ConnectResponse

REFUSED = ConnectResponse(0, 0, 0, bytes(16), False)


def knock(world: World, **request: object) -> tuple[Client, ConnectResponse | None]:
    """A new connection and what its handshake brought."""
    client = world.open()
    return client, client.connect(**request)  # type: ignore[arg-type]


def test_new_session_gets_an_id_a_password_and_its_timeout(world: World) -> None:
    client, answer = knock(world, timeout_ms=10000)
    assert answer == ConnectResponse(0, 10000, client.session_id, password(client.session_id), False)
    assert client.session_id == 1 << 56 | (WALL_MS & (1 << 40) - 1) << 16
    assert world.client().session_id == client.session_id + 1


def test_passwords_are_the_ones_every_server_gives() -> None:
    assert password(0x0100000804B30000).hex() == "0fc04644f071167f05ef2c18b98b1eee"
    assert password(0x0100000804B30019).hex() == "89d86f449060fb9c501a5ae8f0cd8e52"


def test_server_ids_from_128_make_negative_session_ids() -> None:
    assert first_session_id(127, WALL_MS) > 0
    assert first_session_id(128, WALL_MS) < 0
    assert first_session_id(255, WALL_MS) & 0xFF << 56 == 0xFF << 56


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (10000, 10000),
        (6000, 6000),
        (5999, 6000),
        (0, 6000),
        (-1, 6000),
        (60000, 60000),
        (60001, 60000),
        (2**31 - 1, 60000),
    ],
)
def test_timeout_is_clamped(world: World, wanted: int, given: int) -> None:
    _, answer = knock(world, timeout_ms=wanted)
    assert answer is not None
    assert answer.time_out == given


def test_answer_has_the_read_only_flag_only_for_clients_that_sent_one(world: World) -> None:
    with_flag = world.client()
    assert len(with_flag.raw) == 4 + 37
    old = world.open()
    old.knows_read_only = False
    old.send(frame(ConnectRequest(0, 0, 10000, 0, bytes(16), False).to_bytes()[:-1]))
    assert len(old.raw) == 4 + 36
    (answer,) = old.take()
    assert isinstance(answer, ConnectResponse)
    assert answer.session_id


def test_read_only_flag_is_the_servers_not_an_echo(world: World) -> None:
    _, answer = knock(world, read_only=True)
    assert answer is not None
    assert not answer.read_only


@pytest.mark.parametrize("secret", [None, b"", bytes(16), b"x" * 100])
def test_any_password_will_do_for_a_new_session(world: World, secret: bytes | None) -> None:
    _, answer = knock(world, password=secret)
    assert answer is not None
    assert answer.session_id


def test_handshake_may_come_byte_by_byte(world: World) -> None:
    client = world.open()
    request = frame(ConnectRequest(0, 0, 10000, 0, bytes(16), False).to_bytes())
    for at in range(len(request) - 1):
        client.send(request[at : at + 1])
        assert not client.raw
    client.send(request[-1:])
    assert isinstance(client.take()[0], ConnectResponse)


def test_answer_waits_until_the_session_is_durable(world: World) -> None:
    world.holds_log = True
    client, answer = knock(world)
    assert answer is None
    assert not client.is_closed
    world.sync()
    (late,) = client.take()
    assert isinstance(late, ConnectResponse)
    assert late.session_id in world.tree.sessions.timeouts


def test_new_session_takes_a_zxid(world: World) -> None:
    for zxid in (1, 2, 3):
        client = world.client(7000)
        (header, txn) = world.txns()[-1]
        assert (header.zxid, header.type, header.cxid) == (zxid, opcodes.CREATE_SESSION, 0)
        assert (header.client_id, txn.time_out) == (client.session_id, 7000)


def test_requests_behind_the_handshake_are_answered_behind_it(world: World) -> None:
    client = world.open()
    hello = frame(ConnectRequest(0, 0, 10000, 0, bytes(16), False).to_bytes())
    client.send(
        hello,
        client.request(opcodes.AUTH, AuthPacket(0, "digest", b"ann:secret"), opcodes.XID_AUTH),
        client.request(opcodes.PING),
        client.request(opcodes.EXISTS, b"\0\0\0\1/\0"),
        client.request(opcodes.CLOSE_SESSION),
    )
    first, *rest = client.take()
    assert isinstance(first, ConnectResponse)
    assert [packet.xid for packet in rest if isinstance(packet, Reply)] == [-4, -2, 2, 3]
    assert client.is_closed


# --- coming back -------------------------------------------------------------------------------------------------


def test_reattach_brings_the_session_back_without_a_txn(world: World, client: Client) -> None:
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.hang_up()
    zxid = world.tree.last_zxid
    back, answer = knock(world, session_id=client.session_id, password=client.password, timeout_ms=20000)
    assert answer == ConnectResponse(0, 20000, client.session_id, client.password, False)
    assert world.tree.last_zxid == zxid
    assert world.tree.sessions.timeouts[client.session_id] == 10000, "the persisted timeout stays"
    assert stat_of(back.exists("/e")).ephemeral_owner == client.session_id


def test_reattach_does_not_wait_for_the_log(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.CREATE, b"\0\0\0\2/x\0\0\0\0\0\0\0\0\0\0\0\0")
    _, answer = knock(world, session_id=client.session_id, password=client.password)
    assert answer is not None
    assert answer.session_id == client.session_id
    world.holds_log = False
    world.sync()


def test_reattach_knocks_the_old_connection_off(world: World, client: Client) -> None:
    _, answer = knock(world, session_id=client.session_id, password=client.password)
    assert answer is not None
    assert client.is_closed
    assert client.take() == []


def test_reattach_brings_back_neither_watches_nor_identities(world: World, client: Client) -> None:
    client.auth("digest", b"u:p")
    client.exists("/w", watch=True)
    back, _ = knock(world, session_id=client.session_id, password=client.password)
    other = world.client()
    other.create("/w")
    assert back.take() == []
    assert back.connection.identities == (("ip", "127.0.0.1"),)


def test_wrong_password_is_answered_with_nulls_then_closed(world: World, client: Client) -> None:
    thief, answer = knock(world, session_id=client.session_id, password=b"x" * 16)
    assert answer == REFUSED
    assert thief.is_closed
    assert thief.raw.hex() == "00000025" + "00000000" * 2 + "00" * 8 + "00000010" + "00" * 16 + "00"


def test_wrong_password_knocks_the_rightful_connection_off_but_the_session_lives(world: World, client: Client) -> None:
    knock(world, session_id=client.session_id, password=bytes(16))
    assert client.is_closed
    _, answer = knock(world, session_id=client.session_id, password=client.password)
    assert answer is not None
    assert answer.session_id == client.session_id


def test_refusal_leaves_the_flag_out_for_old_clients(world: World) -> None:
    old = world.open()
    old.knows_read_only = False
    old.send(frame(ConnectRequest(0, 0, 10000, 77, bytes(16), False).to_bytes()[:-1]))
    assert len(old.raw) == 4 + 36
    assert old.take() == [REFUSED]
    assert old.is_closed


@pytest.mark.parametrize("session_id", [77, -1, 1 << 62, -(1 << 63)])
def test_unknown_session_is_refused(world: World, session_id: int) -> None:
    stranger, answer = knock(world, session_id=session_id, password=password(session_id))
    assert answer == REFUSED
    assert stranger.is_closed


def test_expired_session_is_refused(world: World, client: Client) -> None:
    client.hang_up()
    world.advance(20000)
    _, answer = knock(world, session_id=client.session_id, password=client.password)
    assert answer == REFUSED


def test_closed_session_is_refused(world: World, client: Client) -> None:
    client.close_session()
    _, answer = knock(world, session_id=client.session_id, password=client.password)
    assert answer == REFUSED


def test_closing_session_is_refused_before_its_close_is_applied(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.CLOSE_SESSION)
    _, answer = knock(world, session_id=client.session_id, password=client.password)
    assert answer == REFUSED
    world.sync()
    assert client.session_id not in world.tree.sessions.timeouts


# --- turned away without a word ------------------------------------------------------------------------------------


def test_client_ahead_of_the_server_is_closed_without_a_word(world: World, client: Client) -> None:
    ahead, answer = knock(world, zxid=world.tree.last_zxid + 1)
    assert answer is None
    assert ahead.is_closed
    assert not ahead.raw


def test_client_ahead_of_the_server_does_not_disturb_its_old_connection(world: World, client: Client) -> None:
    ahead, _ = knock(world, session_id=client.session_id, password=client.password, zxid=1 << 40)
    assert ahead.is_closed
    assert not client.is_closed
    assert client.exists("/").err == 0


def test_client_as_far_as_the_server_is_welcome(world: World, client: Client) -> None:
    _, answer = knock(world, zxid=world.tree.last_zxid)
    assert answer is not None
    assert answer.session_id


@pytest.mark.parametrize(
    "body", [b"", bytes(10), bytes(27), bytes(20) + b"\xff\xff\xff\xfe", bytes(24) + b"\0\0\0\x10abc"]
)
def test_what_is_no_handshake_is_closed_without_a_word(world: World, body: bytes) -> None:
    client = world.open()
    client.send(frame(body))
    assert client.is_closed
    assert not client.raw
    assert not world.log


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\0\x10\0\0", b"\x7f\xff\xff\xff"])
def test_hostile_first_length_closes_the_connection(world: World, length: bytes) -> None:
    client = world.open()
    client.send(length)
    assert client.is_closed
    assert not client.raw


def test_throttled_connection_is_closed_without_a_word() -> None:
    world = World(throttle_tokens=2, throttle_fill_ms=1000, throttle_fill_count=1)
    assert all(knock(world)[1] is not None for _ in range(2))
    turned_away, answer = knock(world)
    assert answer is None
    assert turned_away.is_closed
    world.advance(1000)
    assert knock(world)[1] is not None
    assert knock(world)[1] is None


def test_connection_without_a_session_is_closed_in_time(world: World) -> None:
    silent = world.open()
    world.advance(9000)
    assert not silent.is_closed
    world.advance(3000)
    assert silent.is_closed
    assert not silent.raw
    assert world.now_ms == START_MS + 12000


def test_whoever_shakes_hands_is_not_closed_as_sessionless(world: World, client: Client) -> None:
    world.advance(9000)
    client.call(opcodes.PING)
    world.advance(9000)
    assert not client.is_closed
