"""The hub on real sockets, turn by turn: who is read, who is sent to, who is hung up on."""

import errno
import select
import socket
import struct
import time
from functools import partial

import pytest

from tests.server.rig import Rig
from tests.system.clients import PING, Client, create, hello, request
from zkpy.proto import opcodes
from zkpy.proto.records import AddWatchRequest, GetDataRequest
from zkpy.server import hub as hub_module
from zkpy.server.hub import (
    ACCEPT_PAUSE_MS,
    READ_SIZE,
    TURN_ACCEPTS,
    TURN_BYTES,
    UNSENT_HIGH,
    UNSENT_LIMIT,
    java_address,
)
from zkpy.server.ring import Receiver, Ring


@pytest.fixture(autouse=True, params=["one by one", "together"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How sockets are read from and sent to; whatever is so in one way is so in all."""
    chosen: str = request.param
    if chosen == "one by one":
        monkeypatch.setattr(hub_module, "Receiver", no_ring)
    else:
        try:
            Receiver(1).close()
        except OSError as missing:
            pytest.skip(f"this kernel lets us have no io_uring: {missing}")
        monkeypatch.setattr(hub_module, "LEAST_RECEIVES", 1)
        monkeypatch.setattr(hub_module, "LEAST_SENDS", 1)
    return chosen


def no_ring(*_: object) -> None:
    """What a kernel without one says."""
    raise OSError(errno.ENOSYS, "io_uring_setup")


GET_BIG = request(1, opcodes.GET_DATA, GetDataRequest("/big", False))
BIG = 400_000


def with_big(rig: Rig) -> Client:
    """A client, and a node of BIG bytes."""
    client = rig.client()
    client.send(create(1, "/big", bytes(BIG)))
    rig.turns(20)
    assert client.reply().err == 0
    return client


def small_buffers(rig: Rig, client: Client) -> None:
    """Let the kernel hold little for a client that does not read, on either side."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    rig.link(client).sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_request_may_come_in_any_pieces() -> None:
    with Rig() as rig:
        client = rig.stranger()
        for byte in hello() + create(1, "/a") + PING:
            client.send(bytes([byte]))
            rig.turn()
        rig.turns()
        assert len(client.packet()) == 37
        assert [client.reply().xid, client.reply().xid] == [1, -2]


def test_all_answers_of_a_turn_leave_in_one_piece() -> None:
    with Rig() as rig:
        client = rig.client()
        client.send(PING * 100, create(1, "/a"), PING * 100)
        while not rig.turn():
            if select.select([client.sock], [], [], 0.001)[0]:
                break
        assert len(client.sock.recv(1 << 16)) >= 200 * 20


def test_a_turn_takes_no_more_bytes_than_its_share_and_says_that_there_is_more() -> None:
    with Rig() as rig:
        clients = [rig.client() for _ in range(20)]
        for client in clients:
            client.send(PING * (READ_SIZE // len(PING)))
        before = rig.keeper.statistics.bytes_received
        assert rig.read()
        taken = rig.keeper.statistics.bytes_received - before
        rig.finish()
        assert TURN_BYTES <= taken < TURN_BYTES + READ_SIZE


def test_whoever_did_not_fit_into_one_turn_comes_first_in_the_next() -> None:
    with Rig() as rig:
        clients = [rig.client() for _ in range(20)]
        for client in clients:
            client.send(PING * (READ_SIZE // len(PING)))
        per_turn = TURN_BYTES // READ_SIZE + 1
        turns = 0
        served: set[str] = set()
        while len(served) < len(clients):
            rig.turn()
            turns += 1
            served |= {one.address for one in rig.keeper.connections if one.received > 1}
            for client in clients[:4]:  # these never stop
                client.send(PING * 2000)
            assert turns <= len(clients) // (per_turn - 1) + 2, "the others starve"


def test_more_sockets_than_a_turn_looks_at_are_all_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "TURN_SOCKETS", 8)
    with Rig() as rig:
        clients = [rig.client() for _ in range(20)]
        for client in clients:
            client.send(PING)
        assert rig.turn()
        rig.turns()
        for client in clients:
            assert client.reply().xid == -2


def test_wait_a_moment_tells_whether_a_socket_is_ready() -> None:
    with Rig() as rig:
        client = rig.client()
        assert not rig.hub.wait_a_moment()
        client.send(PING)
        assert rig.hub.wait_a_moment()
        assert rig.hub.wait_a_moment(), "what it has found is not lost"
        assert not rig.turn(), "it has found all there was"
        assert client.reply().xid == -2


# --- sending ------------------------------------------------------------------------------------------------------


def test_links_of_members_are_read_in_every_turn_however_much_the_clients_send() -> None:
    with Rig() as rig:
        clients = [rig.client() for _ in range(3 * TURN_BYTES // READ_SIZE)]
        heard: list[bytes] = []
        near, far = socket.socketpair()
        with near, far:
            rig.hub.attach(near.fileno(), lambda: heard.append(near.recv(1)))
            for client in clients:
                client.send(PING * (READ_SIZE // len(PING)))
            far.send(b"ab")
            time.sleep(0.01)
            assert rig.turn(), "the clients have sent more than a turn takes"
            assert heard == [b"a"]
            assert rig.turn()
            assert heard == [b"a", b"b"]
            far.send(b"c")
            rig.turns()
            assert heard == [b"a", b"b", b"c"]
            rig.hub.detach(near.fileno())
            far.send(b"d")
            rig.turns()
            assert heard == [b"a", b"b", b"c"]


def test_a_link_of_a_member_is_waited_for_as_a_client_is() -> None:
    with Rig() as rig:
        heard: list[bytes] = []
        near, far = socket.socketpair()
        with near, far:
            rig.hub.attach(near.fileno(), lambda: heard.append(near.recv(1)))
            far.send(b"a")
            assert rig.hub.wait_a_moment()
            assert not rig.turn()
            assert heard == [b"a"]
            rig.hub.detach(near.fileno())
            far.send(b"b")
            assert not rig.hub.wait_a_moment()


def test_a_link_that_ends_by_what_another_one_says_is_not_read_any_more() -> None:
    with Rig() as rig:
        pairs = [socket.socketpair() for _ in range(2)]
        heard: list[int] = []

        def read(near: socket.socket) -> None:
            heard.append(near.fileno())
            for one, _ in pairs:
                rig.hub.detach(one.fileno())

        for near, far in pairs:
            rig.hub.attach(near.fileno(), partial(read, near))
            far.send(b"x")
        rig.turns()
        assert len(heard) == 1
        for pair in pairs:
            for sock in pair:
                sock.close()


def test_a_client_that_does_not_read_is_not_read_from_until_it_does() -> None:
    with Rig() as rig:
        big = with_big(rig)
        slow = rig.client()
        slow.send(GET_BIG * 100)
        rig.turns(50)
        link = rig.link(slow)
        assert len(link.unsent) < UNSENT_HIGH + 2 * BIG
        assert len(rig.connection(slow).backlog) > 50, "most requests wait until their turn to be answered comes"
        assert not link.mask & select.EPOLLIN
        taken = rig.connection(slow).received
        slow.send(PING * 50)
        rig.turns(20)
        assert rig.connection(slow).received == taken, "nothing more is taken"
        big.send(PING)
        rig.turn()
        assert big.reply().xid == -2, "others are served"

        answers = 0
        slow.sock.settimeout(0.002)
        for _ in range(100_000):
            rig.turn()
            try:
                slow.packet()
                answers += 1
            except TimeoutError:
                continue
            if answers == 150:
                break
        assert answers == 150
        rig.turns()
        assert not link.unsent
        assert link.mask == select.EPOLLIN


def test_one_clients_large_answers_take_one_share_of_each_turn() -> None:
    with Rig() as rig:
        with_big(rig)
        greedy, other = rig.client(), rig.client()
        greedy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        greedy.send(GET_BIG * 1000)
        other.send(PING)
        sent = []
        for _ in range(4):
            before = rig.keeper.statistics.response_bytes
            rig.turn()
            sent.append(rig.keeper.statistics.response_bytes - before)
        assert max(sent) < 2 * UNSENT_HIGH
        assert other.reply().xid == -2


def test_a_client_that_never_takes_its_events_is_hung_up_on() -> None:
    with Rig() as rig:
        path = "/" + "x" * 200_000
        writer, watcher = rig.client(), rig.client()
        small_buffers(rig, watcher)
        watcher.send(request(1, opcodes.ADD_WATCH, AddWatchRequest(path, 1)))
        rig.turns()
        connection = rig.connection(watcher)
        link = rig.link(watcher)
        for number in range(2 * UNSENT_LIMIT // len(path)):
            writer.send(create(number, path) if number % 2 == 0 else request(number, opcodes.DELETE, delete(path)))
            rig.turns(8)
            assert writer.reply().err == 0
            assert len(link.unsent) <= UNSENT_LIMIT + len(path) + 100
            if connection not in rig.keeper.connections:
                break
        assert connection not in rig.keeper.connections
        assert number > UNSENT_LIMIT // len(path) - 10


def delete(path: str) -> bytes:
    """The body of a delete."""
    return struct.pack(">i", len(path)) + path.encode() + b"\xff" * 4


# --- hanging up ---------------------------------------------------------------------------------------------------


def test_the_last_answer_arrives_although_the_client_had_sent_more() -> None:
    with Rig() as rig:
        client = rig.client()
        client.send(request(1, opcodes.CLOSE_SESSION), PING * 1000)
        rig.turns()
        client.sock.settimeout(1)
        data = b""
        while more := client.sock.recv(1 << 16):  # a reset would raise
            data += more
        assert data == struct.pack(">iiqi", 16, 1, rig.keeper.tree.last_zxid, 0)
        assert not rig.keeper.connections


def test_a_client_that_goes_is_forgotten() -> None:
    with Rig() as rig:
        clients = [rig.client() for _ in range(4)]
        clients[0].close()
        clients[1].reset()
        clients[2].send(PING[:5])
        clients[2].close()
        rig.turns()
        assert [one.address for one in rig.keeper.connections] == [clients[3].address]
        assert len(rig.hub.links) == 1


def test_a_client_gone_before_its_answer_is_sent_disturbs_nobody() -> None:
    with Rig() as rig:
        gone, other = rig.client(), rig.client()
        rig.holds_disk = True
        gone.send(create(1, "/a"))
        other.send(create(1, "/b"))
        rig.turns()
        gone.reset()
        rig.turns()
        rig.sync()
        assert other.reply().err == 0
        assert len(rig.hub.links) == 1


def test_a_closing_connection_that_takes_nothing_is_closed_in_the_end() -> None:
    with Rig({"sessionless_timeout_ms": 3000}) as rig:
        with_big(rig)
        stuck = rig.client()
        small_buffers(rig, stuck)
        connection = rig.connection(stuck)
        stuck.send(GET_BIG + request(9, opcodes.CLOSE_SESSION))
        rig.turns()
        assert connection.closing
        assert rig.link(stuck).unsent
        assert connection in rig.keeper.connections, "it is given time"
        rig.now_ms += 5000
        rig.replica.begin(rig.now_ms, 0)
        rig.replica.wake()
        rig.turns()
        assert connection not in rig.keeper.connections


# --- accepting ------------------------------------------------------------------------------------------------------


def test_a_turn_accepts_so_many_connections_and_the_next_goes_on() -> None:
    with Rig() as rig:
        clients = [rig.stranger() for _ in range(TURN_ACCEPTS + 10)]
        rig.turn()
        assert len(rig.hub.links) == TURN_ACCEPTS
        rig.turn()
        assert len(rig.hub.links) == len(clients)


def test_the_limit_per_address_is_each_addresss_own() -> None:
    with Rig(max_per_ip=2) as rig:
        one = [rig.client() for _ in range(2)]
        assert rig.is_hung_up(rig.stranger())
        elsewhere = []
        for _ in range(2):
            sock = socket.create_connection(("127.0.0.1", rig.port), timeout=1, source_address=("127.0.0.2", 0))
            sock.sendall(hello())
            elsewhere.append(sock)
        rig.turns()
        assert all(len(sock.recv(100)) == 41 for sock in elsewhere)
        assert rig.keeper.statistics.connections_rejected == 1
        one[0].close()
        rig.turns()
        one[0] = rig.client()
        assert rig.is_hung_up(rig.stranger())


def test_the_limit_of_all_connections_counts_every_address() -> None:
    with Rig(max_total=2) as rig:
        one = rig.client()
        sock = socket.create_connection(("127.0.0.1", rig.port), timeout=1, source_address=("127.0.0.3", 0))
        rig.turns()
        assert rig.is_hung_up(rig.stranger())
        sock.close()
        rig.turns()
        other = rig.client()
        assert {connection.address for connection in rig.keeper.connections} == {one.address, other.address}


def test_without_descriptors_it_pauses_accepting_and_tries_again() -> None:
    with Rig() as rig:
        client = rig.client()
        rig.hub.max_fd = rig.link(client).fd  # as if this were the last one
        waiting = [rig.stranger() for _ in range(3)]
        rig.turns()
        assert len(rig.hub.links) == 1
        assert not rig.hub.is_due(rig.now_ms)
        client.send(PING)
        assert not rig.turn(), "the listener does not keep it busy meanwhile"
        assert client.reply().xid == -2
        rig.hub.max_fd = 0
        rig.turns()
        assert len(rig.hub.links) == 1
        rig.now_ms += ACCEPT_PAUSE_MS
        assert rig.hub.is_due(rig.now_ms)
        rig.turns()
        assert len(rig.hub.links) == 1 + len(waiting) - 1, "the one it took out of the queue was hung up on"


# --- the outstanding limit --------------------------------------------------------------------------------------------


def test_past_the_outstanding_limit_writers_wait_and_readers_do_not() -> None:
    with Rig(outstanding_limit=10) as rig:
        writers = [rig.client() for _ in range(3)]
        reader = rig.client()
        rig.holds_disk = True
        for number, writer in enumerate(writers):
            writer.send(*(create(n, f"/{number}-{n}") for n in range(8)))
            rig.turns()
        before = len(rig.keeper.in_flight)
        assert before == 24, "the third had nothing in flight yet, so what it sent at once was taken"
        writers[0].send(*(create(n, f"/more-{n}") for n in range(50)))
        rig.turns()
        assert len(rig.keeper.in_flight) == before
        reader.send(PING)
        rig.turns()
        assert reader.reply().xid == -2

        rig.holds_disk = False
        while rig.token >= 0:
            rig.sync()
            rig.turns()
        assert [writers[0].reply().xid for _ in range(58)] == [*range(8), *range(50)]


def test_a_finished_sync_alone_lets_paused_clients_go_on() -> None:
    with Rig(outstanding_limit=10) as rig:
        client = rig.client()
        rig.holds_disk = True
        client.send(*(create(n, f"/{n}") for n in range(20)))
        rig.turns()
        client.send(create(20, "/20"))
        rig.turns()
        assert not select.select([rig.hub.epoll.fileno()], [], [], 0)[0], "it is paused, so no socket begins a turn"
        rig.sync()
        assert select.select([rig.hub.epoll.fileno()], [], [], 1)[0]
        rig.holds_disk = False
        rig.turns()
        assert [client.reply().xid for _ in range(21)] == [*range(21)]


def test_whoever_must_wait_in_the_middle_of_a_turn_costs_nobody_behind_a_request() -> None:
    with Rig(outstanding_limit=1) as rig:
        clients = [rig.client() for _ in range(5)]
        rig.holds_disk = True
        clients[0].send(create(0, "/0"))
        rig.turns()
        for number in (1, 2):
            clients[number].send(create(number, f"/{number}"))
        clients[0].send(create(9, "/0-again"))
        rig.hub._watch(rig.link(clients[0]), select.EPOLLIN | select.EPOLLOUT)  # as with a rest to be sent
        for number in (3, 4):
            clients[number].send(create(number, f"/{number}"))
        rig.token = -1
        rig.turn()
        rig.holds_disk = False
        rig.replica.synced(rig.token)
        rig.turns(12)
        assert [client.reply().xid for client in clients] == [0, 1, 2, 3, 4]
        assert clients[0].reply().xid == 9


# --- rings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["together"], indirect=True)
@pytest.mark.parametrize("broken", ["receive", "send"])
def test_a_ring_that_breaks_costs_only_the_connections_it_was_used_for(
    way: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "planted")

    with Rig() as rig:
        clients = [rig.client() for _ in range(3)]
        bystander = rig.client()
        for client in clients:
            client.send(PING)
        with monkeypatch.context() as patched:
            if broken == "receive":
                patched.setattr(Receiver, "receive", fail)
                rig.turn()
            else:
                rig.read()
                patched.setattr(Ring, "submit", fail)
                rig.finish()
        assert [link.connection for link in rig.hub.links.values()] == [rig.connection(bystander)]
        bystander.send(PING)
        late = rig.client()
        late.send(PING)
        rig.turns()
        assert [bystander.reply().xid, late.reply().xid] == [-2, -2]


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "java"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("::", "0:0:0:0:0:0:0:0"),
        ("2001:db8::ff", "2001:db8:0:0:0:0:0:ff"),
        ("fe80::1%eth0", "fe80:0:0:0:0:0:0:1%eth0"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_address_is_printed_as_java_does(given: str, java: str) -> None:
    assert java_address(given) == java
