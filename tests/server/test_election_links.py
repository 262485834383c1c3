"""The election port on real sockets: who dials whom, what waits and what is said again, and strangers of every kind."""

import logging
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.ports import free_ports
from zkpy.proto.notification import ANONYMOUS, MESSAGE_LIMIT, InitialMessage
from zkpy.server import election_links
from zkpy.server.election_links import ElectionLinks, ElectionOptions
from zkpy.server.sockets import bind

LIMIT_S = 30
LOCAL = "127.0.0.1"


class Desk:
    """The election port of server 2 of three, and what it hears. Ports of the others are for the test to use."""

    def __init__(self, nursery: trio.Nursery, **options: float) -> None:
        self.ports = dict(zip((1, 2, 3), free_ports(3), strict=True))
        self.heard: list[tuple[int, bytes]] = []
        self.lost: list[int] = []
        self.listener = bind(LOCAL, self.ports[2])
        self.links = ElectionLinks(
            nursery,
            [self.listener],
            2,
            [(LOCAL, self.ports[2])],
            {sid: [(LOCAL, port)] for sid, port in self.ports.items()},
            lambda sid, message: self.heard.append((sid, message)),
            self.lost.append,
            ElectionOptions(**{"connect_timeout_s": 5, "greeting_timeout_s": LIMIT_S, **options}),
        )

    async def dial(self, greeting: bytes = b"") -> trio.SocketStream:
        stream = await trio.open_tcp_stream(LOCAL, self.ports[2])
        if greeting:
            await stream.send_all(greeting)
        return stream

    async def join(self, sid: int) -> trio.SocketStream:
        """As server `sid`; if that is greater, its connection is kept, and is in use when this returns."""
        before = self.links._posts[sid].link
        stream = await self.dial(self.greeting(sid))
        while sid > 2 and self.links._posts[sid].link is before:
            await trio.sleep(0.002)
        return stream

    def greeting(self, sid: int) -> bytes:
        return InitialMessage(sid, [(LOCAL, self.ports.get(sid, 1))]).encode()


@asynccontextmanager
async def desk(**options: float) -> AsyncIterator[Desk]:
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            one = Desk(nursery, **options)
            try:
                yield one
                nursery.cancel_scope.cancel()
            finally:
                one.listener.close()


async def message(stream: trio.SocketStream) -> bytes:
    """The next message, which must have come whole."""
    size = struct.unpack(">i", await exactly(stream, 4))[0]
    return await exactly(stream, size)


async def exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive_some(size - len(data))
        assert part, "closed"
        data += part
    return data


async def is_closed(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(100) == b""
    except trio.BrokenResourceError:
        return True


async def hears(one: Desk, count: int) -> None:
    while len(one.heard) < count:
        await trio.sleep(0.005)


def framed(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def test_the_connection_that_the_greater_sid_dialed_is_kept() -> None:
    async def main() -> None:
        async with desk() as one:
            three = await one.join(3)
            await three.send_all(framed(b"hello") + framed(b"again")[:6])
            await three.send_all(framed(b"again")[6:])
            await hears(one, 2)
            assert one.heard == [(3, b"hello"), (3, b"again")]
            one.links.send(3, b"good morning")
            assert await message(three) == b"good morning"

    trio.run(main)


def test_a_message_behind_the_greeting_in_one_packet_is_heard() -> None:
    async def main() -> None:
        async with desk() as one:
            await one.dial(one.greeting(3) + framed(b"first"))
            await hears(one, 1)
            assert one.heard == [(3, b"first")]

    trio.run(main)


def test_a_server_from_before_3_5_says_its_sid_and_nothing_else() -> None:
    async def main() -> None:
        async with desk() as one:
            await one.dial(struct.pack(">q", 3) + framed(b"old"))
            await hears(one, 1)
            assert one.heard == [(3, b"old")]

    trio.run(main)


def test_the_connection_that_a_smaller_sid_dialed_is_dropped_and_dialed_back() -> None:
    async def main() -> None:
        async with desk() as one:
            listener = bind(LOCAL, one.ports[1])
            stream = await one.join(1)
            assert await is_closed(stream)
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            sock.setblocking(False)
            back = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            data = await exactly(back, len(one.greeting(2)))
            assert data == one.greeting(2)
            one.links.send(1, b"to one")
            assert await message(back) == b"to one"
            await back.send_all(framed(b"to two"))
            await hears(one, 1)
            assert one.heard == [(1, b"to two")]
            listener.close()

    trio.run(main)


def test_a_greater_sid_is_dialed_to_be_dialed_back() -> None:
    async def main() -> None:
        async with desk() as one:
            listener = bind(LOCAL, one.ports[3])
            one.links.send(3, b"wanted")
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            sock.setblocking(False)
            dialed = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            assert await exactly(dialed, len(one.greeting(2))) == one.greeting(2)
            assert await is_closed(dialed)
            assert await message(await one.join(3)) == b"wanted"
            listener.close()

    trio.run(main)


def test_only_the_newest_message_waits_for_a_peer_that_is_away() -> None:
    async def main() -> None:
        async with desk() as one:
            for text in (b"one", b"two", b"three"):
                one.links.send(3, text)
            assert await message(await one.join(3)) == b"three"

    trio.run(main)


def test_a_fresh_connection_begins_with_the_last_message() -> None:
    async def main() -> None:
        async with desk() as one:
            first = await one.join(3)
            one.links.send(3, b"said before")
            assert await message(first) == b"said before"
            second = await one.join(3)
            assert await message(second) == b"said before"
            assert await is_closed(first)
            one.links.send(3, b"said now")
            assert await message(second) == b"said now"

    trio.run(main)


def test_a_peer_that_cannot_be_reached_is_dialed_again_with_the_next_message(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with desk() as one:
            for _ in range(3):
                one.links.send(1, b"are you there?")
                await trio.sleep(0.05)
            listener = bind(LOCAL, one.ports[1])
            while True:
                one.links.send(1, b"are you there?")
                with trio.move_on_after(0.1):
                    await trio.lowlevel.wait_readable(listener)
                    break
            listener.close()

    trio.run(main)
    assert [record.message for record in caplog.records].count("peer cannot be reached") == 1


def test_a_peer_whose_port_refuses_is_told_of_each_time() -> None:
    async def main() -> None:
        async with desk() as one:
            for count in (1, 2):
                one.links.send(1, b"are you there?")
                while len(one.lost) < count:
                    await trio.sleep(0.005)
            assert one.lost == [1, 1]

    trio.run(main)


@pytest.mark.slow
def test_what_was_said_as_the_connection_ended_is_said_again() -> None:
    async def main() -> None:
        async with desk() as one:
            three = await one.join(3)
            await trio.sleep(election_links.UNHEARD_S)
            one.links.send(3, b"who leads?")
            assert await message(three) == b"who leads?"
            listener = bind(LOCAL, one.ports[3])
            await three.aclose()
            await trio.lowlevel.wait_readable(listener)
            assert await message(await one.join(3)) == b"who leads?"
            listener.close()

    trio.run(main)


@pytest.mark.slow
def test_a_leader_that_dies_is_found_out_though_nothing_is_said_after_its_end() -> None:
    async def main() -> None:
        async with desk() as one:
            three = await one.join(3)
            await trio.sleep(election_links.UNHEARD_S)
            one.links.send(3, b"who leads?")
            await three.aclose()
            while not one.lost:
                await trio.sleep(0.005)
            assert one.lost == [3]

    trio.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("sid", [1, 3])
def test_a_peer_that_ends_each_connection_is_dialed_once_more_and_not_for_ever(sid: int) -> None:
    async def main() -> None:
        async with desk() as one:
            listener = bind(LOCAL, one.ports[sid])
            one.links.send(sid, b"are you there?")
            dials = 0
            with trio.move_on_after(0.5):
                while True:
                    await trio.lowlevel.wait_readable(listener)
                    listener.accept()[0].close()
                    dials += 1
            assert dials == 2
            listener.close()
            one.links.send(sid, b"are you there?")
            while not one.lost:
                await trio.sleep(0.005)
            assert one.lost == [sid]

    trio.run(main)


HEAD = struct.Struct(">qqi")
BAD_GREETINGS = {
    "an unknown version": HEAD.pack(-65534, 3, 5) + b"a:123",
    "addresses of no length": HEAD.pack(-65536, 3, 0),
    "addresses that are too long": HEAD.pack(-65536, 3, 2049),
    "addresses of a negative length": HEAD.pack(-65536, 3, -1),
    "an address without a port": HEAD.pack(-65536, 3, 4) + b"host",
    "a port that is none": HEAD.pack(-65536, 3, 7) + b"a:65536",
    "a negative sid": HEAD.pack(-65536, -3, 3) + b"a:1",
    "its own sid": HEAD.pack(-65536, 2, 3) + b"a:1",
    "an observer without a sid": HEAD.pack(-65536, ANONYMOUS, 3) + b"a:1",
    "a request of HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
    "a TLS handshake": bytes.fromhex("16030100c8010000c40303") + bytes(200),
}


@pytest.mark.parametrize("what", BAD_GREETINGS)
def test_a_bad_greeting_costs_the_connection_and_one_line(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with desk() as one:
            assert await is_closed(await one.dial(BAD_GREETINGS[what]))
            three = await one.join(3)
            one.links.send(3, b"still here")
            assert await message(three) == b"still here"

    trio.run(main)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_greeting_that_is_cut_short_costs_the_connection() -> None:
    async def main() -> None:
        async with desk() as one:
            whole = one.greeting(3)
            for end in range(len(whole)):
                stream = await one.dial(whole[:end])
                await stream.send_eof()
                assert await is_closed(stream)
            assert one.heard == []

    trio.run(main)


@pytest.mark.parametrize("length", [0, -1, MESSAGE_LIMIT + 1, 0x7FFFFFFF])
def test_a_message_of_a_bad_length_costs_the_connection(length: int) -> None:
    async def main() -> None:
        async with desk() as one:
            stream = await one.join(3)
            await stream.send_all(framed(b"good") + struct.pack(">i", length) + b"bad")
            assert await is_closed(stream)
            assert one.heard == [(3, b"good")]
            again = await one.join(3)
            one.links.send(3, b"still here")
            assert await message(again) == b"still here"

    trio.run(main)


def test_who_says_nothing_is_hung_up_on_in_the_end() -> None:
    async def main() -> None:
        async with desk(greeting_timeout_s=0.2) as one:
            assert await is_closed(await one.dial())
            assert await is_closed(await one.dial(one.greeting(3)[:10]))

    trio.run(main)


@pytest.mark.slow
def test_a_flood_of_silent_connections_keeps_no_peer_out() -> None:
    async def main() -> None:
        async with desk() as one:
            silent = [await one.dial() for _ in range(4 * election_links.UNKNOWN_LIMIT)]
            three = await one.join(3)
            one.links.send(3, b"still here")
            assert await message(three) == b"still here"
            assert len(one.links._unknown) <= election_links.UNKNOWN_LIMIT
            assert await is_closed(silent[0])

    trio.run(main)


@pytest.mark.slow
def test_servers_that_nobody_told_of_are_heard_but_counted() -> None:
    async def main() -> None:
        async with desk() as one:
            limit = election_links.STRANGERS_LIMIT
            streams = [await one.dial(one.greeting(sid) + framed(b"hello")) for sid in range(10, 10 + limit)]
            await hears(one, limit)
            assert sorted(sid for sid, _ in one.heard) == list(range(10, 10 + limit))
            one.links.send(12, b"it is server 3 that leads")
            assert await message(streams[2]) == b"it is server 3 that leads"
            assert await is_closed(await one.dial(one.greeting(99)))
            await streams[0].aclose()
            while len(one.links._posts) == 2 + limit:
                await trio.sleep(0.005)
            one.links.send(10, b"to one that has gone again")
            late = await one.dial(one.greeting(99) + framed(b"now"))
            await hears(one, limit + 1)
            await late.aclose()

    trio.run(main)


def test_a_peer_that_does_not_read_holds_up_nobody() -> None:
    async def main() -> None:
        async with desk() as one:
            await one.join(3)
            for _ in range(100):
                one.links.send(3, bytes(MESSAGE_LIMIT))
                await trio.sleep(0)
            other = await one.dial(one.greeting(7) + framed(b"hello"))
            await hears(one, 1)
            one.links.send(7, b"hello to you")
            assert await message(other) == b"hello to you"

    trio.run(main)
