"""The generator's own connections: a session each, requests out as bytes that lie ready, replies in that are checked.

    opened ─→ handshake, credentials, sync ─→ the loop of a shape ─→ closeSession, end of stream

Its law: nothing is trusted. A reply must carry the xid that is next in line, no error, and the exact length that its
kind has. What else comes raises a CommandError, which names the server.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from struct import Struct
from typing import Final, NamedTuple

from jute import JuteError
from zkpy.cli.bench.requests import HEADER, Requests, encode
from zkpy.cli.connecting import CommandError, NotPermitted, Unavailable
from zkpy.proto import errors, opcodes
from zkpy.proto import records as r
from zkpy.proto.frames import frame

IN: Final = select.POLLIN
OUT: Final = select.POLLOUT
#: Asked for; no connection is ever silent for that long.
SESSION_TIMEOUT_MS: Final = 30_000
#: A server that says nothing for so long has failed.
SILENCE_S: Final = 10.0
#: How long the closing of all sessions may take.
CLOSING_S: Final = 3.0
#: Handshakes under way: a listen backlog is 50 by default, and a connection dropped there would cost a second.
_AT_A_TIME: Final = 20
_RECEIVE_BYTES: Final = 1 << 18
#: Nothing that a handshake is answered with is longer.
_GREETING_LIMIT: Final = 1 << 16
#: Length, xid, zxid, error.
REPLY: Final = Struct(">iiqi")

HANDSHAKE: Final = frame(r.ConnectRequest(0, 0, SESSION_TIMEOUT_MS, 0, bytes(16), False).to_bytes())


class Address(NamedTuple):
    """A server, by the name the user gave it, and where that is."""

    name: str
    family: int
    where: tuple[str | int, ...]


class Asked(NamedTuple):
    """What a server says of itself; empty where it does not."""

    name: str
    version: str
    mode: str


def resolve(host: str, port: int) -> Address:
    """Where it is; the first of its addresses that takes a connection. Raises OSError."""
    with socket.create_connection((host, port), SILENCE_S) as sock:
        shown = f"[{host}]" if ":" in host else host
        return Address(f"{shown}:{port}", sock.family, sock.getpeername())


def ask(address: Address) -> Asked:
    """What the server says of itself to `srvr`, the one four-letter word that is allowed by default."""
    answer = b""
    with suppress(OSError), socket.socket(address.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(SILENCE_S)
        sock.connect(address.where)
        sock.sendall(b"srvr")
        while part := sock.recv(4096):
            answer += part
    text = answer.decode("utf-8", "replace")
    # Apache's has the commit behind it.
    version = re.search(r"^Zookeeper version: ([^,\s]+?)(?:-[0-9a-f]{40})?(?:,|\s|$)", text, re.MULTILINE)
    mode = re.search(r"^Mode: (\S+)", text, re.MULTILINE)
    return Asked(address.name, version[1] if version else "", mode[1] if mode else "")


class Poll:
    """epoll where there is one, else poll."""

    def __init__(self) -> None:
        if hasattr(select, "epoll"):
            epoll = select.epoll()
            self.wait: Callable[[float], Iterable[tuple[int, int]]] = epoll.poll
            self.register: Callable[[int, int], object] = epoll.register
            self.modify: Callable[[int, int], object] = epoll.modify
            self.close: Callable[[], None] = epoll.close
        else:
            poll = select.poll()
            self.wait = lambda seconds: poll.poll(seconds * 1000)
            self.register, self.modify = poll.register, poll.modify
            self.close = lambda: None


class Connection:
    """One of them. What it holds of a block: [received_at, sent_at) is in flight, around the block's end."""

    __slots__ = (
        "address", "block", "held", "in_flight", "index", "needed", "opened_ns", "out", "received_at", "sent_at",
        "sent_ns", "sock", "stage",
    )  # fmt: skip

    def __init__(self, index: int, address: Address) -> None:
        self.index = index
        self.address = address
        self.sock: socket.socket | None = None
        self.block = memoryview(b"")
        self.sent_at = self.received_at = self.in_flight = 0
        #: (when, how many), for what is in flight, oldest first.
        self.sent_ns: deque[tuple[int, int]] = deque()
        #: What the socket has not taken yet.
        self.out = memoryview(b"")
        #: The beginning of a reply, and how long it must get to be worth a look.
        self.held = bytearray()
        self.needed = 0
        #: For the loops that take one step at a time.
        self.stage = 0
        self.opened_ns = 0

    def lost(self, what: str) -> Unavailable:
        """The error that says so."""
        return Unavailable(f"the connection to {self.address.name} was lost in the middle: {what}")

    def wrong(self, what: str) -> CommandError:
        """The same for what is no good reply."""
        return CommandError(f"{self.address.name} gave a wrong answer: {what}")

    def refused(self, code: int, doing: str) -> CommandError:
        """The same for an answer that is an error."""
        return refusal(self.address.name, code, doing)


def refusal(server: str, code: int, doing: str) -> CommandError:
    """What a command says of an answer that is an error."""
    if code == errors.NOAUTH:
        return NotPermitted(
            f"{server} does not permit {doing}: give credentials with --auth digest:USER:PASSWORD, or name a node below"
            " one where you may with --path"
        )
    if code == errors.AUTHFAILED:
        return NotPermitted(f"{server} does not accept these credentials: see --auth")
    if code in (errors.CONNECTIONLOSS, errors.SESSIONEXPIRED):
        return Unavailable(
            f"the connection to {server} was lost ({type(errors.error_of(code)).__name__}) while {doing}"
        )
    return CommandError(f"{server} refused {doing}: {errors.error_of(code)}")


class Connections:
    """All that a shape works with, spread over the servers in turn."""

    def __init__(self, addresses: Sequence[Address], auth: Sequence[tuple[str, bytes]], count: int) -> None:
        self.all = [Connection(index, addresses[index % len(addresses)]) for index in range(count)]
        self.by_fd: dict[int, Connection] = {}
        self.poll = Poll()
        self.auth = auth
        self.buffer = memoryview(bytearray(_RECEIVE_BYTES))

    def open(self, path: str) -> None:
        """Get a session on each; one that has seen all that was written at `path` before. Raises CommandError."""
        sync = encode(1, opcodes.SYNC, r.SyncRequest(path))
        for begin in range(0, len(self.all), _AT_A_TIME):
            some = self.all[begin : begin + _AT_A_TIME]
            for step in (
                self._connect,
                self._await_session,
                partial(self._say, data=self.credentials() + sync),
                self._await_answers,
            ):
                for one in some:
                    try:
                        step(one)
                    except OSError as error:
                        raise self._no_session(one, reason(error)) from None
                    except JuteError as error:
                        raise one.wrong(f"{error}: is it a ZooKeeper server?") from None
            for one in some:
                assert one.sock is not None
                one.sock.setblocking(False)
                self.register(one, IN)

    def credentials(self) -> bytes:
        """What shows them to a server, each answered on its own."""
        return b"".join(
            encode(opcodes.XID_AUTH, opcodes.AUTH, r.AuthPacket(0, scheme, credential))
            for scheme, credential in self.auth
        )

    def register(self, one: Connection, mask: int) -> None:
        """Let `poll` say when something happens on it."""
        assert one.sock is not None
        self.by_fd[one.sock.fileno()] = one
        self.poll.register(one.sock.fileno(), mask)

    def _connect(self, one: Connection) -> None:
        one.sock = socket.socket(one.address.family, socket.SOCK_STREAM)
        one.sock.settimeout(SILENCE_S)
        one.sock.connect(one.address.where)
        one.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._say(one, HANDSHAKE)

    def _say(self, one: Connection, data: bytes) -> None:
        assert one.sock is not None
        one.sock.sendall(data)

    def _await_session(self, one: Connection) -> None:
        body = _receive_frame(one)
        if body is None:
            raise self._no_session(one, "the server has closed it")
        if r.ConnectResponse.from_bytes(body).time_out <= 0:
            raise self._no_session(one, "the handshake was refused")

    def _await_answers(self, one: Connection) -> None:
        """To the credentials and the sync."""
        for _ in range(len(self.auth) + 1):
            body = _receive_frame(one)
            if body is None:
                raise one.lost("the server has closed it")
            code = r.ReplyHeader.decode(body)[0].err
            if code:
                raise one.refused(code, "a sync")

    def _no_session(self, one: Connection, what: str) -> Unavailable:
        return Unavailable(
            f"{one.address.name} gave no session to connection {one.index + 1} of {len(self.all)} ({what}): it may"
            " limit the connections from one address (maxClientCnxns, 60 by default), or have no quorum"
        )

    def close(self) -> None:
        """Close all sessions in good order, as far as that goes within CLOSING_S, and the connections."""
        goodbye = encode(1 << 30, opcodes.CLOSE_SESSION)
        closing = []
        for one in self.all:
            # Behind half a request nothing can be said; such a session expires.
            if one.sock is not None and not one.out:
                with suppress(OSError):
                    one.sock.settimeout(CLOSING_S)
                    one.sock.sendall(goodbye)
                    closing.append(one.sock)
        deadline = time.monotonic() + CLOSING_S
        for sock in closing:
            # Up to the end of the stream: to close over unread bytes would reset the connection, and the server might
            # never read the goodbye.
            with suppress(OSError):
                sock.settimeout(max(0.01, deadline - time.monotonic()))
                while sock.recv_into(self.buffer):
                    pass
        self.abandon()

    def abandon(self) -> None:
        """Close the connections as they are."""
        self.by_fd.clear()
        self.poll.close()
        for one in self.all:
            if one.sock is not None:
                one.sock.close()
                one.sock = None

    # What loops do.

    def receive(self, one: Connection) -> memoryview | bytearray | None:
        """What has arrived and is worth a look, with what was held of it; None if there is nothing such.

        It is good until the next call. What is not used of it must be put into `held`, and `needed` set.
        """
        assert one.sock is not None
        try:
            size = one.sock.recv_into(self.buffer)
        except BlockingIOError:
            return None
        except OSError as error:
            raise one.lost(reason(error)) from None
        if not size:
            raise one.lost("the server has closed it")
        if not one.held:
            return self.buffer[:size]
        one.held += self.buffer[:size]
        if len(one.held) < one.needed:
            return None
        data, one.held = one.held, bytearray()
        return data

    def replies(self, one: Connection, data: memoryview | bytearray, requests: Requests, doing: str) -> int:
        """How many replies are in `data`, each the next in line and a good one."""
        at, size, position = 0, len(data), one.received_at
        lengths, last = requests.reply_lengths, requests.length
        needed, count = 4 + HEADER, 0
        unpack = REPLY.unpack_from
        while size - at >= 20:
            length, xid, _, code = unpack(data, at)
            if xid != position + 1 or code or length != lengths[position]:
                raise self._bad(one, length, xid, code, position + 1, lengths[position], doing)
            if size - at < 4 + length:
                needed = 4 + length
                break
            at += 4 + length
            count += 1
            position += 1
            if position == last:
                position = 0
        if at < size:
            one.held = bytearray(data[at:])
            one.needed = needed
        if count > one.in_flight:
            raise one.wrong(f"{count} replies to {one.in_flight} requests")
        one.in_flight -= count
        one.received_at = position
        return count

    def _bad(
        self, one: Connection, length: int, xid: int, code: int, wanted_xid: int, wanted_length: int, doing: str
    ) -> CommandError:
        if xid == wanted_xid and code:
            return one.refused(code, doing)
        return one.wrong(f"reply {xid} of {length} bytes, and reply {wanted_xid} of {wanted_length} was due ({doing})")

    def send(self, one: Connection, count: int, requests: Requests, now_ns: int) -> None:
        """Send the next so many requests."""
        at, begin = requests.at, one.sent_at
        end = begin + count
        if end < requests.length:
            data = one.block[at[begin] : at[end]]
            one.sent_at = end
        else:
            rest = one.block[at[begin] :]
            one.block = requests.block()
            one.sent_at = end - requests.length
            data = memoryview(b"".join((rest, one.block[: at[one.sent_at]]))) if one.sent_at else rest
        one.sent_ns.append((now_ns, count))
        one.in_flight += count
        self.put(one, data)

    def put(self, one: Connection, data: memoryview) -> None:
        """Send these bytes; what the socket does not take stays in `out`, for `flush`."""
        assert one.sock is not None
        assert not one.out
        try:
            sent = one.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise one.lost(reason(error)) from None
        if sent < len(data):
            one.out = data[sent:]
            self.poll.modify(one.sock.fileno(), IN | OUT)

    def flush(self, one: Connection) -> None:
        """Send what is left in `out`; the socket takes more now."""
        data, one.out = one.out, memoryview(b"")
        assert one.sock is not None
        self.poll.modify(one.sock.fileno(), IN)
        if data:
            self.put(one, data)


def _receive_frame(one: Connection) -> bytes | None:
    """The next frame, waited for; None at the end of the stream, or for what is too long to be an answer."""
    head = _receive(one, 4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big", signed=True)
    if not 0 <= length <= _GREETING_LIMIT:
        raise one.wrong(f"a frame of {length} bytes: is it a ZooKeeper server?")
    body = _receive(one, length)
    return body if len(body) == length else None


def _receive(one: Connection, size: int) -> bytes:
    assert one.sock is not None
    data = b""
    while len(data) < size and (part := one.sock.recv(size - len(data))):
        data += part
    return data


def reason(error: OSError) -> str:
    """Why, in the system's words."""
    if isinstance(error, TimeoutError):
        return f"no answer for {SILENCE_S:g} s"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no free port left: closed connections keep theirs for a minute"
    return os.strerror(error.errno) if error.errno else str(error)
