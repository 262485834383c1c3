"""The quorum port: links between a leader and its learners; packets, and trees behind SNAP.

    leading    listen ─ accept ─→ link_up ┄ receive ┄ link_down
    learning   dial, some times over ─→ link_up, or dial_failed

Links are read in the turns, beside the clients' sockets. Each has a queue of what is to be sent. A turn sends what the
socket takes, once for each link, and goes on; a task of the link sends the rest when there is room, trees in slices
between the turns. So a slow learner holds up nobody, and with more than OUT_LIMIT waiting for it, it is cut off.

Law: a stranger's bytes cost him his link and us one line; no length of his is believed, and links that have not said
who they are get a small packet's worth of memory and are counted.
"""

import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import attrs
import trio

from jute import JuteError
from zkpy.proto.errors import ProtocolError
from zkpy.proto.packets import DEFAULT_LIMIT, SNAP, PacketStream
from zkpy.proto.records import QuorumPacket
from zkpy.server.logs import get_log
from zkpy.server.sockets import Address, bind, dial, explain, prepare
from zkpy.storage import LogReader, StorageError
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageLoader, ImageWriter
from zkpy.zab.peer import Peer

log = get_log("zkpy.quorum")

#: One read of one link, and how many of them in a turn while they come full.
READ_SIZE: Final = 1 << 16
TURN_READS: Final = 4
#: What is joined for one send.
SEND_SIZE: Final = 1 << 20
#: What waits to be sent to one learner at most, beside the tree: minutes of proposals, or a learner that is stuck.
OUT_LIMIT: Final = 1 << 27
#: Below this there is room for more of the log.
OUT_LOW: Final = 1 << 20
#: How much of the log is read for a learner at a time.
READ_CHUNK: Final = 1 << 20
#: The part of a tree that is made out at once: a small tree is sent as it is at this moment, and its digests fit.
FIRST_SLICE: Final = 1 << 20
#: The other parts, between turns.
SLICE: Final = 1 << 16
#: What ends a tree on a link, as a ustring (LearnerHandler).
SIGNATURE: Final = b"\0\0\0\x0aBenWasHere"
#: Accepted links that have sent no packet yet; with one more, the oldest goes.
UNKNOWN_LIMIT: Final = 64
#: The longest first packet: LearnerInfo is 20 bytes.
FIRST_PACKET_LIMIT: Final = 1024
#: How long the last words to a link may take.
LAST_WORDS_S: Final = 1.0
#: Tries to reach a leader, which listens only once it knows that it leads (Learner.connectToLeader).
DIAL_TRIES: Final = 5
_NOTHING: Final = memoryview(b"")


@attrs.frozen
class QuorumOptions:
    """Times in seconds, sizes in bytes; each one's Apache key stands beside it."""

    connect_timeout_s: float = 30.0  # connectToLearnerMasterLimit or initLimit, times tickTime: for all tries together
    retry_pause_s: float = 0.1  # leaderConnectDelayDuringRetryMs
    introduction_timeout_s: float = 30.0  # initLimit * tickTime
    keepalive: bool = False  # tcpKeepAlive
    packet_limit: int = DEFAULT_LIMIT  # jute.maxbuffer + extrasize


class Inlet(Protocol):
    """Where sockets are waited for: the hub."""

    def attach(self, fd: int, read: Callable[[], None]) -> None:
        """Call `read` in every turn that finds this socket readable or at its end."""

    def detach(self, fd: int) -> None:
        """Not any more."""


class LinkEnded(Exception):
    """The other side is gone."""


class Link:
    """One link. `out` holds bytes, trees under way, and None where a tree has ended."""

    __slots__ = (
        "address",
        "has_rest",
        "is_closing",
        "is_dialed",
        "is_known",
        "loader",
        "number",
        "out",
        "out_size",
        "reader",
        "rest",
        "scope",
        "snap",
        "sock",
        "stream",
        "tree",
        "unsent",
    )

    def __init__(self, number: int, sock: socket.socket, address: str, *, is_dialed: bool, limit: int) -> None:
        self.number = number
        self.sock = sock
        self.address = address
        self.is_dialed = is_dialed
        #: It has said something that is a packet.
        self.is_known = is_dialed
        self.is_closing = False
        self.scope = trio.CancelScope()
        self.stream = PacketStream(limit if is_dialed else FIRST_PACKET_LIMIT)
        self.out: deque[bytes | ImageWriter | None] = deque()
        #: Bytes in `out` and `unsent`.
        self.out_size = 0
        self.unsent = _NOTHING
        #: Set when the link's task has something to send.
        self.has_rest = trio.Event()
        #: A tree that is arriving: its packet, the tree, what loads it, what is not loaded yet.
        self.snap: QuorumPacket | None = None
        self.tree: DataTree | None = None
        self.loader: ImageLoader | None = None
        self.rest = b""
        #: What reads the log for it.
        self.reader: LogReader | None = None


class QuorumLinks:
    """Owner of the quorum port and its links. What it hears it tells the Peer."""

    def __init__(
        self,
        nursery: trio.Nursery,
        peer: Peer,
        hear: Callable[[Callable[[], None]], None],
        inlet: Inlet,
        own: Sequence[Address],
        members: Mapping[int, Sequence[Address]],
        new_tree: Callable[[], DataTree],
        read_log: Callable[[int, int], LogReader],
        options: QuorumOptions,
    ) -> None:
        """`own` are the addresses to listen on while leading. `hear` runs a turn with the given word as its input.

        The tasks of all links run in `nursery`.
        """
        self.peer = peer
        self.links: dict[int, Link] = {}
        self._hear = hear
        self._inlet = inlet
        self._own = own
        self._members = members
        self._new_tree = new_tree
        self._read_log = read_log
        self._options = options
        self._numbers = 0
        self._unknown: dict[Link, None] = {}
        # Those with something to send in this turn; those with words that may wait for others; and those whose tasks
        # have something to send.
        self._dirty: dict[Link, None] = {}
        self._patient: dict[Link, None] = {}
        self._resting: dict[Link, None] = {}
        self._nursery = nursery
        self._listeners: list[socket.socket] = []
        self._dialing: trio.CancelScope | None = None

    def close_all(self) -> None:
        """Close every socket: the server ends."""
        self.stop_listening()
        for link in list(self.links.values()):
            self._drop(link)

    # --- what the Peer decides; all of this within a turn -----------------------------------------------------------

    def listen(self) -> None:
        """Let learners in. The Peer gives up its role if the port cannot be had."""
        if self._listeners:
            return
        for host, port in self._own:
            try:
                self._listeners.append(bind(host, port))
            except (OSError, UnicodeError) as error:
                why = explain(error, f"the server.{self.peer.settings.sid} line")
                log.error("cannot listen", port="quorum", address=f"{host or '*'}:{port}", why=why)
        if not self._listeners:
            self.peer.resign("the quorum port cannot be bound")
        for listener in self._listeners:
            self._nursery.start_soon(self._accept, listener)

    def stop_listening(self) -> None:
        """No more learners: a refused connection tells them that this server does not lead."""
        for listener in self._listeners:
            # At once, for the port may be wanted again in the next turn.
            trio.lowlevel.notify_closing(listener)
            listener.close()
        self._listeners.clear()

    def send_snap(self, number: int, packet: bytes, tree: DataTree) -> None:
        """Send the packet and the tree as it is now."""
        link = self.links.get(number)
        if link is None:
            return
        image = ImageWriter(tree)
        first = packet + image.next_slice(FIRST_SLICE)
        if image.is_done:
            self._put(link, first + SIGNATURE)
        else:
            self._put(link, first)
            link.out.append(image)
        link.out.append(None)
        self._leave_rest(link)

    def send(self, words: list[tuple[int, bytes]], patient: Sequence[tuple[int, bytes]] = ()) -> None:
        """Put these into the queues, each link's in order, for `flush`; those that are patient too for `hasten`."""
        for word in words:
            link = self.links.get(word[0])
            if link is not None:
                self._put(link, word[1])
                if patient and word in patient:
                    self._patient[link] = None
                else:
                    self._dirty[link] = None

    @property
    def is_patient(self) -> bool:
        """Is there a word that waits for another one to its link?"""
        return bool(self._patient)

    def hasten(self) -> bool:
        """Let no word wait for another one any more. True if a link is lost by that."""
        self._dirty.update(self._patient)
        return self.flush()

    def flush(self) -> bool:
        """Send what is in the queues; what a socket does not take now waits. True if a link is lost by that."""
        if not self._dirty:
            return False
        dirty, self._dirty = self._dirty, {}
        patient = self._patient
        before = len(self.links)
        for link in dirty:
            if patient:
                patient.pop(link, None)
            if link.is_closing:
                continue
            if link.out_size > OUT_LIMIT:
                log.warning("link closed", port="quorum", address=link.address, why="it does not read what it is sent")
                self._lose(link)
                continue
            try:
                is_done = self._pump(link)
            except LinkEnded:
                self._lose(link)
                continue
            if not is_done:
                self._leave_rest(link)
        return len(self.links) < before

    @property
    def has_rest(self) -> bool:
        """Does a link's task have something to send: a tree, or what the socket did not take?"""
        return bool(self._resting)

    def _leave_rest(self, link: Link) -> None:
        """The link's task is to send what is left."""
        self._resting[link] = None
        link.has_rest.set()

    def close(self, number: int) -> None:
        """End a link once it has got what is in its queue."""
        link = self.links.pop(number, None)
        if link is None:
            return
        link.is_closing = True
        self._inlet.detach(link.sock.fileno())
        link.scope.deadline = trio.current_time() + LAST_WORDS_S
        self._patient.pop(link, None)
        self._resting.pop(link, None)
        link.has_rest.set()

    def dial(self, sid: int) -> None:
        """Make a link to the leader `sid`."""
        if self._dialing is not None:
            self._dialing.cancel()
        self._dialing = trio.CancelScope()
        self._nursery.start_soon(self._dial, sid, self._dialing)

    def read(self, number: int, first: int, last: int) -> None:
        """Read the log for a learner."""
        link = self.links.get(number)
        if link is not None:
            self._nursery.start_soon(self._read_for, link, first, last)

    # --- links come and go -----------------------------------------------------------------------------------------

    async def _accept(self, listener: socket.socket) -> None:
        # It may be closed before this task has begun.
        while listener.fileno() >= 0:
            try:
                await trio.lowlevel.wait_readable(listener)
                sock, address = listener.accept()
            except BlockingIOError:
                continue
            except trio.ClosedResourceError:
                return  # this server leads no more
            except OSError as error:
                log.error("cannot accept", port="quorum", error=error)
                await trio.sleep(1)
                continue
            if len(self._unknown) >= UNKNOWN_LIMIT:
                next(iter(self._unknown)).scope.cancel()
            link = self._add(sock, f"{address[0]}:{address[1]}", is_dialed=False)
            self._unknown[link] = None
            self._hear(partial(self.peer.link_up, link.number, None))
            self._start(link)
            await trio.lowlevel.checkpoint()

    async def _dial(self, sid: int, scope: trio.CancelScope) -> None:
        options = self._options
        addresses = self._members.get(sid, ())
        why = "no such member"
        with scope:
            until = trio.current_time() + options.connect_timeout_s
            for attempt in range(DIAL_TRIES if addresses else 0):
                if attempt:
                    await trio.sleep(options.retry_pause_s)
                sock, why = await dial(addresses, max(0.1, until - trio.current_time()))
                if sock is not None:
                    link = self._add(sock, f"{addresses[0][0]}:{addresses[0][1]}", is_dialed=True)
                    self._hear(partial(self.peer.link_up, link.number, sid))
                    self._start(link)
                    return
                if trio.current_time() >= until:
                    break
            log.info("leader cannot be reached", sid=sid, why=why)
            self._hear(partial(self.peer.dial_failed, sid))

    def _add(self, sock: socket.socket, address: str, *, is_dialed: bool) -> Link:
        prepare(sock, keepalive=self._options.keepalive)
        self._numbers += 1
        link = Link(self._numbers, sock, address, is_dialed=is_dialed, limit=self._options.packet_limit)
        self.links[link.number] = link
        self._inlet.attach(sock.fileno(), partial(self._read, link))
        return link

    def _start(self, link: Link) -> None:
        if not link.is_known:
            link.scope.deadline = trio.current_time() + self._options.introduction_timeout_s
        self._nursery.start_soon(self._run, link)

    async def _run(self, link: Link) -> None:
        try:
            with link.scope:
                await self._write(link)
        except (LinkEnded, trio.ClosedResourceError):
            pass  # the other side is gone, or this one has closed it
        if link.scope.cancelled_caught and not link.is_closing:
            log.warning("link closed", port="quorum", address=link.address, why="it has said nothing")
        is_ours = link.number in self.links
        self._drop(link)
        if is_ours:
            self._hear(partial(self.peer.link_down, link.number))

    def _lose(self, link: Link) -> None:
        """The link is broken; within a turn."""
        link.scope.cancel()
        self._drop(link)
        self.peer.link_down(link.number)

    def _drop(self, link: Link) -> None:
        self.links.pop(link.number, None)
        self._unknown.pop(link, None)
        self._patient.pop(link, None)
        self._resting.pop(link, None)
        for part in link.out:
            if isinstance(part, ImageWriter):
                part.close()
        link.out.clear()
        link.is_closing = True
        link.reader = link.tree = link.loader = None
        if link.sock.fileno() >= 0:
            self._inlet.detach(link.sock.fileno())
            trio.lowlevel.notify_closing(link.sock)
            link.sock.close()

    # --- in ----------------------------------------------------------------------------------------------------------

    def _read(self, link: Link) -> None:
        """Tell what has arrived, within a turn."""
        for _ in range(TURN_READS):
            try:
                data = link.sock.recv(READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lose(link)
                return
            self._take(link, data)
            if len(data) < READ_SIZE or link.is_closing:
                return

    def _take(self, link: Link, data: bytes) -> None:
        """One read's worth, within a turn."""
        try:
            while data:
                data = self._take_packets(link, data) if link.loader is None else self._take_image(link, data)
        except (ProtocolError, JuteError) as error:
            log.warning("link closed", port="quorum", address=link.address, why=str(error))
            self._lose(link)

    def _take_packets(self, link: Link, data: bytes) -> bytes:
        """Hand on what is whole; what has come of a tree, if one begins here."""
        packets = link.stream.feed(data)
        if packets and not link.is_known:
            link.is_known = True
            link.scope.deadline = float("inf")
            link.stream.limit = self._options.packet_limit
            self._unknown.pop(link, None)
        rest = b""
        if packets and packets[-1].type == SNAP:
            if not link.is_dialed:
                raise ProtocolError("a learner sends SNAP")
            link.snap = packets.pop()
            link.tree = self._new_tree()
            link.loader = ImageLoader(link.tree, self._options.packet_limit)
            rest = link.stream.take_rest()
        if packets:
            self.peer.receive(link.number, packets)
        else:
            self.peer.heard(link.number)
        return rest

    def _take_image(self, link: Link, data: bytes) -> bytes:
        """Load what has come of a tree; what comes behind it."""
        tree, loader, snap = link.tree, link.loader, link.snap
        assert tree is not None
        assert loader is not None
        assert snap is not None
        data = link.rest + data
        if not loader.is_done:
            data = data[loader.feed(data) :]
        if loader.is_done and data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
            raise ProtocolError("a tree without its end mark")
        if not loader.is_done or len(data) < len(SIGNATURE):
            link.rest = data
            self.peer.heard(link.number)
            return b""
        link.rest = b""
        link.snap = link.tree = link.loader = None
        tree.last_zxid = snap.zxid
        tree.finish_load()
        self.peer.receive_snap(link.number, snap, tree)
        return data[len(SIGNATURE) :]

    async def _read_for(self, link: Link, first: int, last: int) -> None:
        while link.out_size > OUT_LOW and not link.is_closing:
            await trio.sleep(0.01)
        entries = None
        is_end = True
        try:
            reader = link.reader
            if reader is None or reader.kept is None or reader.kept[0] != first:
                reader = await trio.to_thread.run_sync(self._read_log, first, last)
            entries, is_end = await trio.to_thread.run_sync(reader.read, last, READ_CHUNK)
            link.reader = None if link.is_closing else reader
        except (StorageError, OSError) as error:
            log.warning("log cannot be read for a learner", address=link.address, error=error)
        if not link.is_closing:
            self._hear(partial(self.peer.log_read, link.number, entries, is_end))

    # --- out ---------------------------------------------------------------------------------------------------------

    def _put(self, link: Link, data: bytes) -> None:
        link.out.append(data)
        link.out_size += len(data)

    def _pump(self, link: Link) -> bool:
        """Send bytes up to the next tree or the end of one; True if nothing is left at all. Raises LinkEnded."""
        while True:
            data: bytes | memoryview = link.unsent
            if not data:
                if not link.out:
                    return True
                data = _take_bytes(link.out)
                if not data:
                    return False
            try:
                sent = link.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise LinkEnded from error
            link.out_size -= sent
            if sent == len(data):
                link.unsent = _NOTHING
            else:
                link.unsent = memoryview(data)[sent:]
                if not sent:
                    return False

    async def _write(self, link: Link) -> None:
        """Send what the turns have left, until the link is closing and nothing is."""
        while not link.is_closing or link.out or link.unsent:
            await link.has_rest.wait()
            link.has_rest = trio.Event()
            while not self._pump(link):
                if link.unsent:
                    await trio.lowlevel.wait_writable(link.sock)
                elif isinstance(part := link.out[0], ImageWriter):
                    self._put_slice(link, part)
                    await trio.lowlevel.checkpoint()
                else:
                    link.out.popleft()
                    if not link.is_closing:
                        self._hear(partial(self.peer.snap_sent, link.number))
            self._resting.pop(link, None)

    def _put_slice(self, link: Link, image: ImageWriter) -> None:
        """Put the next part of a tree before what waits behind it."""
        part = image.next_slice(SLICE)
        if image.is_done:
            link.out.popleft()
            part += SIGNATURE
        link.out.appendleft(part)
        link.out_size += len(part)


def _take_bytes(out: deque[bytes | ImageWriter | None]) -> bytes:
    """The bytes at the front, joined up to SEND_SIZE; none if something else is there."""
    if len(out) == 1 and isinstance(out[0], bytes):
        return out.popleft()  # type: ignore[return-value]
    parts: list[bytes] = []
    size = 0
    while out and size < SEND_SIZE:
        part = out[0]
        if not isinstance(part, bytes):
            break
        parts.append(part)
        size += len(part)
        out.popleft()
    return parts[0] if len(parts) == 1 else b"".join(parts)
