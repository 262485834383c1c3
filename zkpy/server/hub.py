"""All sockets in one selector: a turn reads every ready socket once and sends once per dirty connection.

    accept ─→ Link ─ recv ─→ replica.received ┄┄ (the turn) ┄┄→ Connection.out ─ one send ─→ client

Where the kernel has io_uring, one system call receives from many sockets, or sends to many (`ring`): a tenth of what a
set of one of 500 clients costs. (A thread that sends while the next requests are read took nearly a third from the time
of this one, and made nothing faster: clients work on the other processor.)

The hub has its own epoll set; Trio waits for the set as a whole. A client that does not read what it is sent is not
read from either (UNSENT_HIGH), and is cut off where even that does not help (UNSENT_LIMIT). One connection's fault
closes that connection. Links to other members are in the set too (`attach`), so that what they say comes in the same
turn as what clients say, and shares its sync and its sends.
"""

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Final

from zkpy.keeper.connection import Connection
from zkpy.replica import Replica
from zkpy.server.logs import get_log
from zkpy.server.ring import Receiver, Sender

log = get_log("zkpy.hub")

#: One read of one socket; also what bounds how long one client can hold the turn.
READ_SIZE: Final = 1 << 16
#: Bytes taken from all sockets in one turn: some ten milliseconds of the smallest requests.
TURN_BYTES: Final = 1 << 18
#: How many bytes of held-back answers count as one byte read.
OUT_PER_IN: Final = 32
#: Sockets taken from the kernel at once, and so many turns after one that had to end before all were served. The kernel
#: puts those it gives at the end of its queue then, and not when they have something to say again; so only with few at
#: a time is whoever has waited longest served first. With 500 connections of 16 writes each, at 512 the slowest answers
#: took twice as long as the others.
TURN_SOCKETS: Final = 512
FULL_TURN_SOCKETS: Final = 64
FULL_TURNS: Final = 32
#: Sockets read from, and sent to, in one system call (`ring`), where the kernel can; from how many on that is done; and
#: what must go out alone because copying it costs more than the call.
RING_RECEIVES: Final = 64
RING_SENDS: Final = 512
LEAST_RECEIVES: Final = 4
LEAST_SENDS: Final = 4
MOST_TOGETHER: Final = 1 << 14
#: How often sockets are looked for in one turn that has something to sync.
TURN_ROUNDS: Final = 4
#: Connections accepted in one turn.
TURN_ACCEPTS: Final = 64
#: Up to so many ready sockets are looked through for links to other members; with more, their own set is asked.
FEW_SOCKETS: Final = 8
#: How long `wait_a_moment` waits, in seconds: longer than a member's writes are on their way through the others, and
#: than it takes until the next of 10,000 idle clients pings.
MOMENT_S: Final = 0.003
#: Unsent bytes from which on a client is not read from, and below which it is again.
UNSENT_HIGH: Final = 1 << 20
UNSENT_LOW: Final = 1 << 18
#: Unsent bytes (watch events to a client that never reads) at which its connection is closed.
UNSENT_LIMIT: Final = 1 << 26
#: How long not to accept after the process ran out of file descriptors.
ACCEPT_PAUSE_MS: Final = 1000

_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT


class Link:
    """One client socket and what the kernel did not take yet."""

    __slots__ = ("connection", "fd", "ip", "is_paused", "mask", "recv", "send", "sock", "unsent")

    def __init__(self, sock: socket.socket, ip: str, connection: Connection) -> None:
        self.sock = sock
        # Bound once: they are called for every packet.
        self.recv = sock.recv
        self.send = sock.send
        self.fd = sock.fileno()
        self.ip = ip
        self.connection = connection
        self.unsent = bytearray()
        self.mask = _IN
        # Not read from because its writes wait while too many are in flight.
        self.is_paused = False


class Hub:
    """Owner of the listening sockets, the client sockets and their epoll set."""

    def __init__(
        self,
        replica: Replica,
        listeners: list[socket.socket],
        *,
        max_per_ip: int = 0,
        max_total: int = 0,
        max_fd: int = 0,
        keepalive: bool = False,
        outstanding_limit: int = 1000,
    ) -> None:
        """Serve `replica` on `listeners` (non-blocking); limits of 0 are none.

        `max_fd`: file descriptors from this number on are not for clients.
        """
        self.replica = replica
        self.max_per_ip = max_per_ip
        self.max_total = max_total
        self.max_fd = max_fd
        self.keepalive = keepalive
        self.outstanding_limit = outstanding_limit
        self.epoll = select.epoll()
        self.links: dict[int, Link] = {}
        self._per_ip: dict[str, int] = {}
        self._paused: list[Link] = []
        # Sockets that were ready when the turn was full: first in the next one, or those behind them would starve.
        self._left: list[tuple[int, int]] = []
        # Those that `wait_a_moment` has found: all that were ready.
        self._found: list[tuple[int, int]] = []
        # For how many more turns to take only FULL_TURN_SOCKETS from the kernel at once.
        self._full_turns = 0
        self._accept_again_ms = 0
        # What reads the links to other members; they are in a set of their own too, so that each turn takes what they
        # have, however many clients are ready.
        self._attached: dict[int, Callable[[], None]] = {}
        self._receiver: Receiver | None = None
        self._sender: Sender | None = None
        try:
            self._receiver = Receiver(RING_RECEIVES)
            self._sender = Sender(RING_SENDS)
        except OSError:
            pass  # one call for each socket then
        self._members = select.epoll()
        self._listeners = {sock.fileno(): sock for sock in listeners}
        for fd in self._listeners:
            self.epoll.register(fd, _IN)

    def close(self) -> None:
        """Close every socket and the epoll set."""
        for link in list(self.links.values()):
            self._close(link)
        if self._sender is not None:
            self._sender.close()
        if self._receiver is not None:
            self._receiver.close()
        for sock in self._listeners.values():
            sock.close()
        self._listeners.clear()
        self._members.close()
        self.epoll.close()

    # --- other members -----------------------------------------------------------------------------------------

    def attach(self, fd: int, read: Callable[[], None]) -> None:
        """Call `read` in every turn that finds this socket readable or at its end."""
        self._attached[fd] = read
        self.epoll.register(fd, _IN)
        self._members.register(fd, _IN)

    def detach(self, fd: int) -> None:
        """Undo `attach`, before the socket is closed."""
        if self._attached.pop(fd, None) is not None:
            self.epoll.unregister(fd)
            self._members.unregister(fd)

    # --- in ----------------------------------------------------------------------------------------------------

    def wait_a_moment(self, moment_s: float = MOMENT_S) -> bool:
        """Wait a moment for a socket, holding up everything else in this thread. True if one is ready."""
        if not self._left and not self._found:
            self._found = self.epoll.poll(moment_s, FULL_TURN_SOCKETS if self._full_turns else TURN_SOCKETS)
        return bool(self._left or self._found)

    def is_due(self, now_ms: int) -> bool:
        """Has the time come to accept connections again?"""
        return 0 < self._accept_again_ms <= now_ms

    def read(self, now_ms: int, *, is_behind: bool = False) -> bool:
        """Take what has arrived and feed it to the replica. True if there may be more at once.

        `is_behind`: what is in flight will not commit in this turn, since the disk is busy or other members are asked.
        """
        keeper = self.replica.keeper
        in_flight = keeper.in_flight
        limit = self.outstanding_limit
        if self.is_due(now_ms):
            self._accept_again_ms = 0
            for fd in self._listeners:
                self.epoll.modify(fd, _IN)
        budget = TURN_BYTES
        links = self.links
        received = self.replica.received
        most = TURN_SOCKETS
        is_full = self._full_turns > 0
        if is_full:
            self._full_turns -= 1
            most = FULL_TURN_SOCKETS
        was_left = self._left
        events = was_left or self._found or self.epoll.poll(0, most)
        self._left = []
        if not was_left:
            self._found = []
        if self._attached:
            if is_full or len(events) > FEW_SOCKETS:
                self._read_members(self._members.poll(0))
            elif self._read_members(events) == len(events):
                return bool(was_left)
        for _ in range(TURN_ROUNDS):
            told: dict[Link, bytes] = {}
            untold = 0
            left: list[tuple[int, int]] = []
            for at, (fd, mask) in enumerate(events):
                if (left or budget <= 0) and (not told or at == untold):
                    left += events[at:]
                    break
                if at == untold:
                    untold += RING_RECEIVES
                    told = self._receive(events[at:untold]) if len(in_flight) <= limit else {}
                    budget -= sum(map(len, told.values()))
                link = links.get(fd)
                if link is None:
                    if fd in self._listeners:
                        self._accept(self._listeners[fd], now_ms)
                    continue
                if link in told:
                    data = told.pop(link)
                    if len(data) == Receiver.ROOM and budget > 0:
                        data += self._receive_more(link)
                        budget -= len(data) - Receiver.ROOM
                    if data:
                        received(link.connection, data)
                    else:
                        self._close(link)
                elif len(in_flight) > limit and link.connection.waiting:
                    # globalOutstandingLimit: whoever has writes under way waits; the others are served.
                    if is_behind:
                        self._pause(link)
                    else:
                        left.append((fd, mask))
                else:
                    if mask & _OUT:
                        self._send_rest(link)
                        if fd not in links:
                            continue
                        # Answers are cheaper by the byte than requests are.
                        budget -= link.connection.out_size() // OUT_PER_IN
                    if mask & ~_OUT:
                        try:
                            data = link.recv(READ_SIZE)
                        except BlockingIOError:
                            continue
                        except OSError:
                            data = b""
                        if data:
                            received(link.connection, data)
                            budget -= len(data)
                        else:
                            self._close(link)
            if left or budget <= 0:
                self._left = left
                self._full_turns = FULL_TURNS
                return True
            if not keeper.proposals or len(events) >= len(links):
                break
            # There will be a sync: whatever the others have sent while the first requests were taken may share it.
            events = self.epoll.poll(0, most)
            if not events:
                break
        return len(events) == most or bool(was_left)

    def _receive(self, events: list[tuple[int, int]]) -> dict[Link, bytes]:
        """What these sockets have said, if they are enough to be asked together: of each its first `Receiver.ROOM`."""
        receiver, links = self._receiver, self.links
        if receiver is None or len(events) < LEAST_RECEIVES:
            return {}
        ready = [links[fd] for fd, mask in events if mask == _IN and fd in links]
        if len(ready) < LEAST_RECEIVES:
            return {}
        try:
            told = receiver.receive([link.fd for link in ready])
        except OSError as error:
            log.error("cannot receive from many at once", error=error)
            self._receiver = None
            receiver.close()
            for link in ready:  # nobody knows what has been read of them
                self._close(link)
            return {}
        return {link: data for link, data in zip(ready, told, strict=True) if data is not None}

    def _receive_more(self, link: Link) -> bytes:
        try:
            return link.recv(READ_SIZE)
        except OSError:
            return b""  # its end or fault shows the next time

    def _read_members(self, events: list[tuple[int, int]]) -> int:
        """Read the links to other members that are among these; how many that are."""
        count = 0
        for fd, _ in events:
            read = self._attached.get(fd)
            if read is not None:  # else it is a client, or what one of them has said has ended this link
                read()
                count += 1
        return count

    def _accept(self, listener: socket.socket, now_ms: int) -> None:
        for _ in range(TURN_ACCEPTS):
            try:
                sock, peer = listener.accept()
                if 0 < self.max_fd <= sock.fileno():
                    sock.close()
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    log.error("cannot accept", error=error, next_try_ms=ACCEPT_PAUSE_MS, hint="raise ulimit -n")
                    self._accept_again_ms = now_ms + ACCEPT_PAUSE_MS
                    for fd in self._listeners:
                        self.epoll.modify(fd, 0)
                    return
                continue  # that client has gone again
            ip = java_address(peer[0])
            statistics = self.replica.keeper.statistics
            if self.max_total and len(self.links) >= self.max_total:
                log.warning("too many connections", limit="maxCnxns", max=self.max_total, client=ip)
            elif self.max_per_ip and self._per_ip.get(ip, 0) >= self.max_per_ip:
                log.warning("too many connections", limit="maxClientCnxns", max=self.max_per_ip, client=ip)
            else:
                self._open(sock, ip, peer[1])
                continue
            statistics.connections_rejected += 1
            sock.close()

    def _open(self, sock: socket.socket, ip: str, port: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.keepalive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        address = f"{ip}:{port}" if ":" not in ip else f"[{ip}]:{port}"
        connection = self.replica.opened(ip, address)
        link = Link(sock, ip, connection)
        connection.link = link
        self.links[link.fd] = link
        self._per_ip[ip] = self._per_ip.get(ip, 0) + 1
        self.epoll.register(link.fd, _IN)

    # --- out ---------------------------------------------------------------------------------------------------

    def flush(self, dirty: list[Connection]) -> None:
        """Send what is ready for these. Whose requests had to wait for that goes on in the next turn."""
        keeper = self.replica.keeper
        if self._sender is not None and len(dirty) >= LEAST_SENDS:
            dirty = self._send_together(self._sender, dirty)
        sizes: list[int] = []
        for connection in dirty:
            link = connection.link
            if type(link) is not Link:
                continue
            out = connection.out
            if out:
                if connection.head is None:  # else it is the answer to a four-letter word, and no response
                    connection.sent += len(out)
                    sizes += map(len, out)
                data = out[0] if len(out) == 1 else b"".join(out)
                out.clear()
                if link.unsent:
                    link.unsent += data
                    if len(link.unsent) > UNSENT_LIMIT:
                        log.warning("connection closed", client=connection.address, why="it does not read its events")
                        self._close(link)
                        continue
                else:
                    try:
                        sent = link.send(data)
                    except BlockingIOError:
                        sent = 0
                    except OSError:
                        self._close(link)
                        continue
                    if sent < len(data):
                        link.unsent += data[sent:]
                if link.unsent:
                    self._await_room(link)
            if link.unsent:
                if connection.is_abandoned:
                    self._close(link)
                continue
            if connection.closing:
                self._hang_up(link)
            elif connection.backlog or (connection.waiting and not connection.waiting[0].zxid):
                # In a turn of its own, among all the others: one client's large answers must not fill this one.
                self._watch(link, _OUT)
        if sizes:
            keeper.statistics.add_responses(sizes)
        # Here, not where a turn begins: with everybody paused only a finished sync comes by, and then no turn would.
        if self._paused and len(keeper.in_flight) <= self.outstanding_limit:
            self._unpause()

    def _send_together(self, sender: Sender, dirty: list[Connection]) -> list[Connection]:
        """Send what is ready for most of these, in one call; those that must be looked at one by one."""
        rest: list[Connection] = []
        links: list[Link] = []
        fds: list[int] = []
        lengths: list[int] = []
        parts: list[bytes] = []
        sizes: list[int] = []
        for connection in dirty:
            link = connection.link
            out = connection.out
            if (
                type(link) is not Link
                or link.unsent
                or not out
                or connection.closing
                or connection.backlog
                or connection.head is not None
                or (connection.waiting and not connection.waiting[0].zxid)
                or len(links) == sender.most
            ):
                rest.append(connection)
                continue
            several = list(map(len, out))
            length = sum(several)
            if length > MOST_TOGETHER:
                rest.append(connection)
                continue
            sizes += several
            connection.sent += len(out)
            links.append(link)
            fds.append(link.fd)
            lengths.append(length)
            parts += out
            out.clear()
        if not links:
            return rest
        self.replica.keeper.statistics.add_responses(sizes)
        try:
            unsent = sender.send(fds, lengths, parts)
        except OSError as error:
            log.error("cannot send to many at once", error=error)
            self._sender = None
            sender.close()
            for link in links:  # nobody knows what they have been sent
                self._close(link)
            return rest
        for place, data, number in unsent:
            link = links[place]
            if number:
                self._close(link)
                continue
            link.unsent += data
            if link.connection.is_abandoned:
                self._close(link)
            else:
                self._await_room(link)
        return rest

    def _await_room(self, link: Link) -> None:
        """Go on sending to it when the kernel has room; until then, or much later, what it says is not read."""
        is_full = len(link.unsent) > UNSENT_HIGH or link.connection.backlog
        self._watch(link, _OUT if is_full else link.mask | _OUT)

    def _send_rest(self, link: Link) -> None:
        """Send what the kernel did not take before; with nothing left of that, go on with requests that waited."""
        if link.unsent:
            try:
                sent = link.send(link.unsent)
            except BlockingIOError:
                return
            except OSError:
                self._close(link)
                return
            del link.unsent[:sent]
        if link.unsent:
            if len(link.unsent) < UNSENT_LOW and not link.mask & _IN and not link.connection.backlog:
                self._watch(link, _IN | _OUT)
            return
        if link.connection.closing:
            self._hang_up(link)
            return
        self._watch(link, 0 if link.is_paused else _IN)
        connection = link.connection
        if connection.backlog or (connection.waiting and not connection.waiting[0].zxid):
            self.replica.resume(connection)

    # --- bookkeeping -------------------------------------------------------------------------------------------

    def _watch(self, link: Link, mask: int) -> None:
        if link.mask != mask:
            link.mask = mask
            self.epoll.modify(link.fd, mask)

    def _pause(self, link: Link) -> None:
        if not link.is_paused:
            link.is_paused = True
            self._paused.append(link)
            self._watch(link, link.mask & ~_IN)

    def _unpause(self) -> None:
        for link in self._paused:
            link.is_paused = False
            if self.links.get(link.fd) is link and not link.unsent:
                self._watch(link, link.mask | _IN)
        self._paused.clear()

    def _hang_up(self, link: Link) -> None:
        """Close after the last packet, so that the client gets to read it."""
        try:
            # Unread input would turn the close into a reset, which may overtake the packet.
            link.recv(READ_SIZE)
        except OSError:
            pass
        try:
            link.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self._close(link)

    def _close(self, link: Link) -> None:
        if self.links.pop(link.fd, None) is None:
            return
        left = self._per_ip[link.ip] - 1
        if left:
            self._per_ip[link.ip] = left
        else:
            del self._per_ip[link.ip]
        self.epoll.unregister(link.fd)
        link.sock.close()
        link.unsent.clear()
        link.connection.link = None
        self.replica.closed(link.connection)


def java_address(host: str) -> str:
    """An address as Java prints it (getHostAddress): IPv6 in eight groups without zeros in front, no shortening."""
    if ":" not in host:
        return host
    address, _, scope = host.partition("%")
    packed = socket.inet_pton(socket.AF_INET6, address)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":  # an IPv4 client on an IPv6 socket
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    groups = ":".join(f"{packed[at] << 8 | packed[at + 1]:x}" for at in range(0, 16, 2))
    return f"{groups}%{scope}" if scope else groups
