"""The loops that put load on servers, one for each kind of shape. All are closed: an answer brings the next request.

Their law: they must be as little as possible of what is measured. One thread, one wait for all connections, one receive
and one send for each that has something, latencies counted by the batch; no allocation that is not thrown away at once.
Latency is from just before the send of a request to just after the receive that brought the last byte of its answer.
"""

from __future__ import annotations

import errno
import gc
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from zkpy.cli.bench.interval import STEP_S, Interval
from zkpy.cli.bench.requests import HEADER, STAT, Names, Requests, encode, get_reply_length
from zkpy.cli.bench.wire import HANDSHAKE, IN, OUT, Connection, Connections, reason
from zkpy.proto import events, opcodes
from zkpy.proto import records as r

_NS: Final = time.perf_counter_ns

#: Far above what any request here can be answered with.
_FRAME_LIMIT: Final = 1 << 26

# Stages of a session that is opened and closed.
_CONNECTING: Final = 0
_GREETED: Final = 1
_CLOSING: Final = 2
_CLOSED: Final = 3


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection: the loops make no cycles, and it would be counted as the server's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def run_requests(connections: Connections, requests: Requests, interval: Interval) -> None:
    """get, set, create, mixed: keep so many requests in flight on each connection until the interval is over."""
    in_flight, doing = interval.shape.in_flight, f"{interval.shape.op} requests"
    for one in connections.all:
        one.block = requests.block()
        one.sent_at = one.received_at = requests.start()
    interval.begin()
    with _undisturbed():
        for one in connections.all:
            connections.send(one, in_flight, requests, _NS())
        busy = len(connections.all)
        wait, by_fd = connections.poll.wait, connections.by_fd
        while busy:
            before_ns = _NS()
            ready = wait(STEP_S)
            interval.woken(before_ns, bool(ready))
            for fd, mask in ready:
                one = by_fd[fd]
                if mask & OUT:
                    connections.flush(one)
                if mask & ~OUT:
                    data = connections.receive(one)
                    now_ns = _NS()
                    count = 0 if data is None else connections.replies(one, data, requests, doing)
                    _record(one, count, now_ns, interval)
                # Not while a request is only half sent; what is missing follows then.
                if not one.out:
                    now_ns = _NS()
                    if now_ns < interval.until_ns:
                        count = in_flight - one.in_flight
                        if count:
                            connections.send(one, count, requests, now_ns)
                    elif not one.in_flight and one.stage == 0:
                        one.stage = 1
                        busy -= 1


def _record(one: Connection, count: int, now_ns: int, interval: Interval) -> None:
    """So many of the oldest requests have been answered."""
    sent = one.sent_ns
    while count:
        sent_ns, number = sent[0]
        if number > count:
            sent[0] = (sent_ns, number - count)
            number = count
        else:
            sent.popleft()
        interval.record(now_ns, now_ns - sent_ns, number)
        count -= number


def run_sessions(connections: Connections, interval: Interval) -> None:
    """session: each connection is opened, gets a session, closes it, and is opened again."""
    _Sessions(connections, interval).run()


class _Sessions:
    """CONNECTING ─ writable → GREETED ─ handshake answered → CLOSING ─ goodbye answered → CLOSED ─ its end → ..."""

    def __init__(self, connections: Connections, interval: Interval) -> None:
        self.connections = connections
        self.interval = interval
        self.goodbye = connections.credentials() + encode(1, opcodes.CLOSE_SESSION)
        self.busy = 0

    def run(self) -> None:
        interval = self.interval
        interval.begin()
        with _undisturbed():
            for one in self.connections.all:
                self._open(one)
            self.busy = len(self.connections.all)
            while self.busy:
                before_ns = _NS()
                ready = self.connections.poll.wait(STEP_S)
                interval.woken(before_ns, bool(ready))
                for fd, mask in ready:
                    self._step(self.connections.by_fd[fd], mask)

    def _open(self, one: Connection) -> None:
        sock = one.sock = socket.socket(one.address.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.held.clear()
        one.stage = _CONNECTING
        one.opened_ns = _NS()
        code = sock.connect_ex(one.address.where)
        if code not in (0, errno.EINPROGRESS):
            raise one.lost(reason(OSError(code, "")))
        self.connections.register(one, IN | OUT)

    def _step(self, one: Connection, mask: int) -> None:
        assert one.sock is not None
        if one.stage == _CONNECTING:
            code = one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise one.lost(reason(OSError(code, "")))
            one.stage = _GREETED
            self.connections.poll.modify(one.sock.fileno(), IN)
            self.connections.put(one, memoryview(HANDSHAKE))
            return
        if one.stage == _CLOSED:
            self._end(one)
            return
        if mask & OUT:
            self.connections.flush(one)
            return
        data = self.connections.receive(one)
        for body in () if data is None else _bodies(one, data):
            self._on_frame(one, body)

    def _on_frame(self, one: Connection, body: bytes) -> None:
        if one.stage == _GREETED:
            if len(body) < 36 or int.from_bytes(body[4:8], "big", signed=True) <= 0:
                raise one.wrong("it refused a handshake")
            one.stage = _CLOSING
            self.connections.put(one, memoryview(self.goodbye))
            return
        xid, code = _header(one, body)
        if code:
            raise one.refused(code, "sessions")
        if xid == 1:
            now_ns = _NS()
            self.interval.record(now_ns, now_ns - one.opened_ns)
            one.stage = _CLOSED
        elif xid != opcodes.XID_AUTH:
            raise one.wrong(f"reply {xid}, and that to closeSession was due")

    def _end(self, one: Connection) -> None:
        """The server has closed it first, so that it is not our port that stays occupied for a minute."""
        assert one.sock is not None
        try:
            if one.sock.recv(1):
                raise one.wrong("bytes after the answer to closeSession")
        except OSError:
            pass  # as good an end as any
        del self.connections.by_fd[one.sock.fileno()]
        one.sock.close()
        one.sock = None
        if _NS() < self.interval.until_ns:
            self._open(one)
        else:
            self.busy -= 1


def run_watches(connections: Connections, names: Names, size: int, interval: Interval) -> None:
    """watch: the first connection writes, the others wait for it; the next write is when all have asked again."""
    _Watches(connections, names, size, interval).run()


class _Watches:
    def __init__(self, connections: Connections, names: Names, size: int, interval: Interval) -> None:
        self.connections = connections
        self.interval = interval
        event = r.WatcherEvent(events.NODE_DATA_CHANGED, events.SYNC_CONNECTED, names.watched)
        self.event = event.to_bytes()
        self.ask = encode(1, opcodes.GET_DATA, r.GetDataRequest(names.watched, True))
        self.write = encode(1, opcodes.SET_DATA, r.SetDataRequest(names.watched, b"x" * size, -1))
        self.ask_reply = get_reply_length(size)
        self.writer, *self.watchers = connections.all
        self.armed = 0
        self.is_written = True
        self.written_ns = 0

    def run(self) -> None:
        interval, wait, by_fd = self.interval, self.connections.poll.wait, self.connections.by_fd
        interval.begin()
        with _undisturbed():
            for one in self.watchers:
                self._ask(one)
            while True:
                if self.armed == len(self.watchers) and self.is_written:
                    now_ns = _NS()
                    if now_ns >= interval.until_ns:
                        return
                    self.armed, self.is_written, self.written_ns = 0, False, now_ns
                    self.connections.put(self.writer, memoryview(self.write))
                before_ns = _NS()
                ready = wait(STEP_S)
                interval.woken(before_ns, bool(ready))
                for fd, mask in ready:
                    one = by_fd[fd]
                    if mask & OUT:
                        self.connections.flush(one)
                    if mask & ~OUT:
                        data = self.connections.receive(one)
                        now_ns = _NS()
                        for body in () if data is None else _bodies(one, data):
                            self._on_frame(one, body, now_ns)

    def _ask(self, one: Connection) -> None:
        one.stage = 0
        self.connections.put(one, memoryview(self.ask))

    def _on_frame(self, one: Connection, body: bytes, now_ns: int) -> None:
        xid, code = _header(one, body)
        if code:
            raise one.refused(code, "watches" if one is not self.writer else "writing")
        if one is self.writer:
            if xid != 1 or len(body) != HEADER + STAT or self.is_written:
                raise one.wrong(f"reply {xid} of {len(body)} bytes to a set")
            self.is_written = True
        elif xid == 1 and one.stage == 0:
            if len(body) != self.ask_reply:
                raise one.wrong(f"a reply of {len(body)} bytes to a get, and {self.ask_reply} were due")
            one.stage = 1
            self.armed += 1
        elif xid == opcodes.XID_EVENT and one.stage == 1:
            if body[HEADER:] != self.event:
                raise one.wrong("an event of another kind, or at another node, than was asked for")
            self.interval.record(now_ns, now_ns - self.written_ns)
            self._ask(one)
        else:
            raise one.wrong(f"a frame with xid {xid} that nothing was asked for")


def _header(one: Connection, body: bytes) -> tuple[int, int]:
    """xid and error of a reply."""
    if len(body) < HEADER:
        raise one.wrong(f"a reply of {len(body)} bytes")
    return int.from_bytes(body[:4], "big", signed=True), int.from_bytes(body[12:16], "big", signed=True)


def _bodies(one: Connection, data: memoryview | bytearray) -> Iterator[bytes]:
    """The whole frames in it; what is left is held."""
    at, size = 0, len(data)
    one.needed = 4
    while size - at >= 4:
        length = int.from_bytes(data[at : at + 4], "big")
        if length > _FRAME_LIMIT:
            raise one.wrong(f"a frame of {length} bytes")
        if size - at < 4 + length:
            one.needed = 4 + length
            break
        yield bytes(data[at + 4 : at + 4 + length])
        at += 4 + length
    if at < size:
        one.held = bytearray(data[at:])
