"""The thread under a Session: one connection at a time, requests out in order, replies and events in.

It behaves as Apache's own client does (`ClientCnxn`), since what the shell prints, and when, follows from that:

- requests wait until a connection stands; when one breaks, or an attempt at one fails, all that wait or are in flight
  end with ConnectionLoss, and the next server is tried;
- an event about the connection is told only when it is another one than the last;
- a session that the servers have given up (Expired), whose credentials were refused (AuthFailed) or that was closed is
  dead: nothing brings it back.

Its law: everything that comes from a server is handled on this thread, in the order in which it came; `on_event` is
called there, and a request's `finish` before whoever waits for it goes on.
"""

from __future__ import annotations

import itertools
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from jute import JuteError
from jute.record import Record
from zkpy.proto import errors, events, opcodes
from zkpy.proto.errors import ProtocolError
from zkpy.proto.frames import Framer, frame
from zkpy.proto.records import AuthPacket, ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent

CONNECTING: Final = "CONNECTING"
CONNECTED: Final = "CONNECTED"
CONNECTED_READ_ONLY: Final = "CONNECTEDREADONLY"
CLOSED: Final = "CLOSED"
AUTH_FAILED: Final = "AUTH_FAILED"
_DEAD: Final = frozenset((CLOSED, AUTH_FAILED))

#: The longest wait before a server is tried again, so that not all clients of a fallen server come at once.
PAUSE_S: Final = 1.0
#: A connection is never silent for longer, however long the session's timeout.
MAX_PING_S: Final = 10.0
#: Far above what any server sends by default (1 MB): the list of a very large znode's children.
FRAME_LIMIT: Final = 1 << 26


class Event(NamedTuple):
    """What a watch told, or (kind NONE, no path) how the connection stands."""

    kind: int
    state: int
    path: str | None
    zxid: int = -1

    def __str__(self) -> str:
        """As Apache's WatchedEvent prints itself."""
        kind, state = events.EVENT_NAMES[self.kind], events.STATE_NAMES[self.state]
        return f"WatchedEvent state:{state} type:{kind} path:{self.path or 'null'} zxid: {self.zxid}"


class Request:
    """One request on its way; `finish` gets the code it ended with and may put another in its place."""

    __slots__ = ("body", "code", "done", "finish", "opcode", "reply", "xid")

    def __init__(self, opcode: int, body: bytes, finish: Callable[[int], int] | None = None) -> None:
        self.opcode = opcode
        self.body = body
        self.finish = finish
        self.xid = 0
        self.code = errors.OK
        self.reply = b""
        self.done = threading.Event()

    def end(self, code: int, reply: bytes = b"") -> None:
        """It is answered, or lost."""
        self.reply = reply
        self.code = self.finish(code) if self.finish is not None else code
        self.done.set()


class Connection:
    """Keeps a session alive at one of several servers. `call` may come from any thread but its own."""

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        timeout_ms: int,
        on_event: Callable[[Event], None],
        *,
        read_only: bool = False,
        auth: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        self.state = CONNECTING
        self.session_id = 0
        self.timeout_ms = timeout_ms
        self._addresses = random.sample(list(addresses), len(addresses))
        self._on_event = on_event
        self._read_only = read_only
        self._auth = list(auth)
        self._password = bytes(16)
        self._last_zxid = 0
        self._xid = 0
        self._told_state = events.DISCONNECTED
        self._closing = False
        # Guards _queue, _auth and _closing; who waits for `_pending` is the thread alone.
        self._lock = threading.Lock()
        self._queue: deque[Request] = deque()
        self._pending: deque[Request] = deque()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_out, False)
        self._thread = threading.Thread(target=self._run, name="zkpy-session", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """May it still serve requests, now or once it is connected again?"""
        return self.state not in _DEAD

    def call(self, opcode: int, record: Record | None, path: str | None = None, *, finish: Finish = None) -> bytes:
        """The bytes of the reply behind its header. Raises the KeeperError it holds, about `path`."""
        request = Request(opcode, b"" if record is None else record.to_bytes(), finish)
        self.submit(request)
        request.done.wait()
        if request.code:
            raise errors.error_of(request.code, path)
        return request.reply

    def submit(self, request: Request) -> None:
        """Send it as soon as may be; its `done` is set when it is answered or lost."""
        with self._lock:
            is_late = self._closing or not self.is_alive
            if not is_late:
                self._queue.append(request)
        if is_late:
            request.end(self._lost_code())
        else:
            self._wake()

    def add_auth(self, scheme: str, credential: bytes | None) -> None:
        """Show these credentials, now and on every later connection. A refusal comes as an event."""
        with self._lock:
            if not self.is_alive:
                return
            self._auth.append((scheme, credential))
        self.submit(Request(opcodes.AUTH, AuthPacket(0, scheme, credential).to_bytes()))

    def close(self, patience_s: float | None = None) -> None:
        """End the session, and wait for that, at most so long. Nothing happens if it is dead already."""
        with self._lock:
            if self._closing or not self.is_alive:
                return
            self._closing = True
            self._queue.append(Request(opcodes.CLOSE_SESSION, b""))
        self._wake()
        self._thread.join(patience_s)

    # For who inherits: what to say after each handshake, and what events mean.

    def greeting(self, last_zxid: int) -> list[Request]:
        """Requests that go before all others on a new connection."""
        return []

    def on_watch(self, event: Event) -> None:
        """A server has told of a change."""
        raise NotImplementedError

    # The thread.

    def _run(self) -> None:
        for number, (host, port) in enumerate(itertools.cycle(self._addresses)):
            if number and not self._closing:
                self._pause(random.uniform(0.0, PAUSE_S))
            if self._closing or not self.is_alive:
                break
            try:
                self._talk(host, port)
            except (OSError, ProtocolError, JuteError):
                if self._closing or not self.is_alive:
                    break
                self._set_state(CONNECTING)
                self._lose_requests()
                self.tell(Event(events.NONE, events.DISCONNECTED, None))
        if self._closing:
            self._set_state(CLOSED)
        self._lose_requests()
        if self._closing:
            self.tell(Event(events.NONE, events.CLOSED, None))
        with self._lock:
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._wake_out = -1

    def _set_state(self, state: str) -> None:
        with self._lock:
            self.state = state

    def _lost_code(self) -> int:
        if self.state == AUTH_FAILED:
            return errors.AUTHFAILED
        return errors.SESSIONEXPIRED if self.state == CLOSED else errors.CONNECTIONLOSS

    def _lose_requests(self) -> None:
        with self._lock:
            lost = [*self._pending, *self._queue]
            self._pending.clear()
            self._queue.clear()
        for request in lost:
            request.end(self._lost_code())

    def tell(self, event: Event) -> None:
        """Hand on an event, unless it says about the connection what the last one did."""
        if event.kind == events.NONE:
            if event.state == self._told_state:
                return
            self._told_state = event.state
        self._on_event(event)

    def _wake(self) -> None:
        with self._lock:
            if self._wake_out >= 0:
                try:
                    os.write(self._wake_out, b".")
                except BlockingIOError:
                    pass  # it will wake as it is

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._closing and (left := deadline - time.monotonic()) > 0:
            if select.select([self._wake_in], [], [], left)[0]:
                os.read(self._wake_in, 4096)

    def _talk(self, host: str, port: int) -> None:
        """Connect, and serve the session there until it ends (return) or the connection does (OSError)."""
        timeout_s = self.timeout_ms / 1000 / len(self._addresses)
        with socket.create_connection((host, port), max(timeout_s, 0.1)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            _Talk(self, sock).run()


class _Talk:
    """One connection, from its first byte to its end."""

    def __init__(self, owner: Connection, sock: socket.socket) -> None:
        self.owner = owner
        self.sock = sock
        self.framer = Framer(FRAME_LIMIT)
        self.out = bytearray()
        self.is_connected = False
        self.is_over = False
        self.heard_s = self.sent_s = time.monotonic()
        self.read_timeout_s = owner.timeout_ms / 1000

    def run(self) -> None:
        me = self.owner
        request = ConnectRequest(0, me._last_zxid, me.timeout_ms, me.session_id, me._password, me._read_only)
        self.out += frame(request.to_bytes())
        poll = select.poll()
        poll.register(me._wake_in, select.POLLIN)
        while not self.is_over:
            if self.is_connected:
                self._take_queue()
            poll.register(self.sock, select.POLLIN | (select.POLLOUT if self.out else 0))
            ready = dict(poll.poll(self._patience_ms()))
            # Before reading: who was stopped for so long does not trust what lies there from before.
            if time.monotonic() - self.heard_s >= self.read_timeout_s:
                raise TimeoutError("nothing heard from the server")
            if me._wake_in in ready:
                os.read(me._wake_in, 4096)
            mask = ready.get(self.sock.fileno(), 0)
            if mask & select.POLLOUT:
                del self.out[: self.sock.send(self.out)]
                self.sent_s = time.monotonic()
            if mask & ~select.POLLOUT:
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionResetError("the server has closed the connection")
                self.heard_s = time.monotonic()
                for body in self.framer.feed(data):
                    self._on_frame(body)
            now = time.monotonic()
            if self.is_connected and not self.out and now - self.sent_s >= self._ping_s():
                self.out += frame(RequestHeader(opcodes.XID_PING, opcodes.PING).to_bytes())

    def _ping_s(self) -> float:
        return min(self.read_timeout_s / 2, MAX_PING_S)

    def _patience_ms(self) -> int:
        now = time.monotonic()
        left_s = self.heard_s + self.read_timeout_s - now
        if self.is_connected and not self.out:
            left_s = min(left_s, self.sent_s + self._ping_s() - now)
        return max(0, int(left_s * 1000) + 1)

    def _take_queue(self) -> None:
        me = self.owner
        with me._lock:
            while me._queue:
                self._put(me._queue.popleft())

    def _put(self, request: Request) -> None:
        me = self.owner
        if request.opcode == opcodes.AUTH:
            request.xid = opcodes.XID_AUTH
        elif request.xid == 0:
            me._xid += 1
            request.xid = me._xid
        self.out += frame(RequestHeader(request.xid, request.opcode).to_bytes() + request.body)
        if request.xid > 0:
            me._pending.append(request)

    def _on_frame(self, body: bytes) -> None:
        me = self.owner
        if not self.is_connected:
            self._on_handshake(ConnectResponse.from_bytes(body))
            return
        header, at = ReplyHeader.decode(body)
        if header.xid == opcodes.XID_EVENT:
            event = WatcherEvent.decode(body, at)[0]
            me.on_watch(Event(event.type, event.state, event.path, header.zxid))
        elif header.xid == opcodes.XID_AUTH:
            if header.err == errors.AUTHFAILED:
                me._set_state(AUTH_FAILED)
                me.tell(Event(events.NONE, events.AUTH_FAILED, None))
                self.is_over = True
        elif header.xid > 0:
            if not me._pending or me._pending[0].xid != header.xid:
                raise ProtocolError(f"a reply to request {header.xid}, which is not the oldest one")
            if header.zxid > 0:
                me._last_zxid = header.zxid
            request = me._pending.popleft()
            request.end(header.err, body[at:])
            self.is_over = request.opcode == opcodes.CLOSE_SESSION

    def _on_handshake(self, answer: ConnectResponse) -> None:
        me = self.owner
        if answer.time_out <= 0:
            me._set_state(CLOSED)
            me.tell(Event(events.NONE, events.EXPIRED, None))
            self.is_over = True
            return
        me.session_id, me._password = answer.session_id, answer.passwd or b""
        me.timeout_ms = answer.time_out
        self.read_timeout_s = answer.time_out * 2 / 3 / 1000
        self.is_connected = True
        with me._lock:
            auth = [Request(opcodes.AUTH, AuthPacket(0, *one).to_bytes()) for one in me._auth]
        for request in [*auth, *me.greeting(me._last_zxid)]:
            self._put(request)
        me._set_state(CONNECTED_READ_ONLY if answer.read_only else CONNECTED)
        state = events.CONNECTED_READ_ONLY if answer.read_only else events.SYNC_CONNECTED
        me.tell(Event(events.NONE, state, None))


Finish = Callable[[int], int] | None
