"""The election port: one connection to each other member, whoever dialed it, and the newest word for each.

    I dial    ─ initial message ─→  a greater sid drops it and dials back; a smaller one keeps it
    I accept  ←─ initial message ─  of a greater sid: kept; of a smaller one: dropped, and I dial

So of two servers the one with the greater sid has dialed the connection that stays, and a new one takes the place of an
older one. For each peer one message waits at most: a newer one replaces it. A fresh connection begins with the last
message ever sent, if none waits, for nobody knows whether that one arrived.

Law: a stranger's bytes cost him his connection and us one line; the connections that have not said who they are, and
the servers that nobody told us of, are counted. Source: QuorumCnxManager.
"""

import math
import socket
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final

import attrs
import trio

from zkpy.proto.errors import ProtocolError
from zkpy.proto.notification import ADDRESSES_LIMIT, ANONYMOUS, MESSAGE_LIMIT, InitialMessage
from zkpy.server.logs import get_log
from zkpy.server.sockets import Address, dial, prepare

log = get_log("zkpy.election")

#: One read. A notification is some hundred bytes.
READ_SIZE: Final = 1 << 14
#: Connections that have not said who they are; with one more, the oldest goes.
UNKNOWN_LIMIT: Final = 64
#: Servers of whom the configuration says nothing: those about to join while it is being changed everywhere.
STRANGERS_LIMIT: Final = 16
#: The longest initial message: version, sid, length, addresses.
_GREETING_LIMIT: Final = 20 + ADDRESSES_LIMIT
#: Addresses that say where someone listens, but not how to get there.
_WILDCARDS: Final = ("0.0.0.0", "::", "0:0:0:0:0:0:0:0")
_INT: Final = Struct(">i")
#: What was said no longer ago than this on a connection that has ended may not have been heard.
UNHEARD_S: Final = 1.0
#: Before a peer is dialed again whose port took the last connection, and that made nothing of it. A process that is
#: being killed closes its ports one after the other.
RETRY_S: Final = 0.03


@attrs.frozen
class ElectionOptions:
    """Times in seconds; each one's Apache key stands beside it."""

    connect_timeout_s: float = 5.0  # cnxTimeout
    greeting_timeout_s: float = 15.0  # quorumCnxnTimeoutMs, or tickTime * syncLimit
    keepalive: bool = False  # tcpKeepAlive


class Link:
    """One connection that is past its greeting."""

    __slots__ = ("has_message", "said_s", "scope", "since_s", "stream")

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.scope = trio.CancelScope()
        #: Since when it stands, and when the last message left on it.
        self.since_s = trio.current_time()
        self.said_s = -math.inf
        #: Set when there may be something to send.
        self.has_message = trio.Event()


class Post:
    """What there is to say to one peer, and the way to it."""

    __slots__ = ("addresses", "is_dialing", "is_retried", "is_unreachable", "last", "link", "waiting")

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = addresses
        #: The one message that is not sent yet, and the last one that was.
        self.waiting: bytes | None = None
        self.last: bytes | None = None
        self.link: Link | None = None
        self.is_dialing = False
        # it was dialed again without having been heard of in between
        self.is_retried = False
        # so that a peer that stays away is complained of once
        self.is_unreachable = False


class ElectionLinks:
    """Owner of all connections of the election port."""

    def __init__(
        self,
        nursery: trio.Nursery,
        listeners: Sequence[socket.socket],
        sid: int,
        own: Sequence[Address],
        members: Mapping[int, Sequence[Address]],
        heard: Callable[[int, bytes], None],
        lost: Callable[[int], None],
        options: ElectionOptions,
    ) -> None:
        """This server is `sid`, its election port is at `own`; `heard(sid, message)` is told what others say, and
        `lost(sid)` who could not be reached.

        The tasks of all connections run in `nursery`.
        """
        self.sid = sid
        self.members = members
        self._greeting = InitialMessage(sid, list(own)).encode()
        self._heard = heard
        self._lost = lost
        self._options = options
        self._posts = {peer: Post(addresses) for peer, addresses in members.items() if peer != sid}
        # accepted and not past the greeting, oldest first
        self._unknown: dict[trio.SocketStream, trio.CancelScope] = {}
        self._nursery = nursery
        for listener in listeners:
            nursery.start_soon(self._accept, listener)

    def send(self, sid: int, message: bytes) -> None:
        """Have this said to `sid`, in place of what was to be said and is not sent yet; dials if there is no link."""
        post = self._posts.get(sid)
        if post is None:
            return  # a stranger that has gone again
        post.waiting = message
        if post.link is not None:
            post.link.has_message.set()
        else:
            self._start_dialing(sid, post)

    # --- greeting ------------------------------------------------------------------------------------------------

    def _start_dialing(self, sid: int, post: Post) -> None:
        if not post.is_dialing:
            post.is_dialing = True
            self._nursery.start_soon(self._dial, sid, post)

    async def _dial(self, sid: int, post: Post) -> None:
        sock, why = await dial(post.addresses, self._options.connect_timeout_s)
        post.is_dialing = False
        if sock is None:
            if not post.is_unreachable:
                post.is_unreachable = True
                log.warning("peer cannot be reached", sid=sid, why=why)
            self._forget_stranger(sid, post)
            self._lost(sid)
            return
        post.is_unreachable = False
        prepare(sock, keepalive=self._options.keepalive)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        try:
            with trio.fail_after(self._options.connect_timeout_s):
                await stream.send_all(self._greeting)
        except (trio.BrokenResourceError, trio.TooSlowError):
            await trio.aclose_forcefully(stream)
            return
        if sid > self.sid:
            # It has read who we are, and dials back.
            await trio.aclose_forcefully(stream)
            await self._retry(sid, post)
        else:
            self._establish(sid, post, stream, b"")

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                log.error("cannot accept", port="election", error=error)
                await trio.sleep(1)
                continue
            prepare(sock, keepalive=self._options.keepalive)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            if len(self._unknown) >= UNKNOWN_LIMIT:
                next(iter(self._unknown.values())).cancel()
            self._nursery.start_soon(self._greet, stream)
            await trio.lowlevel.checkpoint()

    async def _greet(self, stream: trio.SocketStream) -> None:
        """Find out who has dialed, and what becomes of the connection."""
        address = _address_of(stream)
        is_kept = False
        scope = self._unknown[stream] = trio.CancelScope(
            deadline=trio.current_time() + self._options.greeting_timeout_s
        )
        try:
            with scope:
                greeting, rest = await _read_greeting(stream)
                is_kept = self._welcome(greeting, stream, rest, address)
        except ProtocolError as error:
            log.warning("link refused", port="election", address=address, why=str(error))
        except trio.BrokenResourceError:
            pass  # it has gone before it said anything
        finally:
            del self._unknown[stream]
            if not is_kept:
                await trio.aclose_forcefully(stream)

    def _welcome(self, greeting: InitialMessage, stream: trio.SocketStream, rest: bytes, address: str) -> bool:
        """True if the connection is kept."""
        sid = greeting.sid
        if sid == self.sid:
            raise ProtocolError(f"it says that it is server {sid}, as this one is")
        if sid == ANONYMOUS or sid < 0:
            raise ProtocolError("it has no sid")
        post = self._posts.get(sid)
        if post is None:
            post = self._add_stranger(greeting, address)
        if sid > self.sid:
            self._establish(sid, post, stream, rest)
            return True
        # The greater sid dials: its own connection, if there is one, is as good as lost for the other side.
        if post.link is not None:
            post.link.scope.cancel()
            post.link = None
        self._start_dialing(sid, post)
        return False

    def _add_stranger(self, greeting: InitialMessage, address: str) -> Post:
        strangers = len(self._posts) - sum(sid != self.sid for sid in self.members)
        if strangers >= STRANGERS_LIMIT:
            raise ProtocolError(f"server {greeting.sid} is not in the configuration, as {strangers} others")
        log.info("a server that is not in the configuration", sid=greeting.sid, address=address)
        addresses = [one for one in greeting.addresses if one[0] not in _WILDCARDS]
        post = self._posts[greeting.sid] = Post(addresses)
        return post

    def _forget_stranger(self, sid: int, post: Post) -> None:
        if sid not in self.members and post.link is None and self._posts.get(sid) is post:
            del self._posts[sid]

    # --- messages ------------------------------------------------------------------------------------------------

    def _establish(self, sid: int, post: Post, stream: trio.SocketStream, rest: bytes) -> None:
        """This connection is the one to `sid` from now on."""
        if post.link is not None:
            post.link.scope.cancel()
        link = post.link = Link(stream)
        if post.waiting is None:
            post.waiting = post.last
        link.has_message.set()
        self._nursery.start_soon(self._run, sid, post, link, rest)

    async def _run(self, sid: int, post: Post, link: Link, rest: bytes) -> None:
        why = "closed by the other side"
        try:
            with link.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, post, link)
                    await self._read(sid, post, link, rest)
                    nursery.cancel_scope.cancel()
        except* ProtocolError as group:
            why = str(group.exceptions[0])
            log.warning("link closed", port="election", sid=sid, why=why)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the other side is gone; a new connection comes when there is something to say
        finally:
            log.debug("link ended", port="election", sid=sid, why=why)
            if post.link is link:
                post.link = None
                self._forget_stranger(sid, post)
                self._say_again(sid, post, link)
            await trio.aclose_forcefully(link.stream)

    def _say_again(self, sid: int, post: Post, link: Link) -> None:
        """What was not said yet, or maybe not heard, needs a connection; that none can be made is news as well.

        The words to a leader that has just died go to a connection whose end nobody has noticed yet.
        """
        now_s = trio.current_time()
        if post.waiting is None and now_s - link.said_s < UNHEARD_S:
            post.waiting = post.last
        if post.waiting is None or self._posts.get(sid) is not post:
            return
        if now_s - link.since_s >= UNHEARD_S:
            self._start_dialing(sid, post)
        else:
            self._nursery.start_soon(self._retry, sid, post)

    async def _retry(self, sid: int, post: Post) -> None:
        """Dial once more if there still is no connection; not again and again, if each ends at once."""
        await trio.sleep(RETRY_S)
        if post.link is None and post.waiting is not None and not post.is_retried:
            post.is_retried = True
            self._start_dialing(sid, post)

    async def _write(self, post: Post, link: Link) -> None:
        while True:
            await link.has_message.wait()
            link.has_message = trio.Event()
            message = post.waiting
            if message is not None and post.link is link:
                post.last, post.waiting = message, None
                link.said_s = trio.current_time()
                await link.stream.send_all(_INT.pack(len(message)) + message)

    async def _read(self, sid: int, post: Post, link: Link, held: bytes) -> None:
        """Hear messages until the other side closes."""
        while True:
            at = 0
            while len(held) - at >= 4:
                (length,) = _INT.unpack_from(held, at)
                if not 0 < length <= MESSAGE_LIMIT:
                    raise ProtocolError(f"a message of {length} bytes")
                end = at + 4 + length
                if end > len(held):
                    break
                post.is_retried = False
                self._heard(sid, held[at + 4 : end])
                at = end
            held = held[at:]
            data = await link.stream.receive_some(READ_SIZE)
            if not data:
                return
            held += data


async def _read_greeting(stream: trio.SocketStream) -> tuple[InitialMessage, bytes]:
    """The initial message, and what came behind it."""
    held = b""
    while True:
        data = await stream.receive_some(_GREETING_LIMIT)
        if not data:
            raise ProtocolError("closed before it said who it is") if held else trio.BrokenResourceError
        held += data
        found = InitialMessage.decode(held)
        if found is not None:
            greeting, end = found
            return greeting, held[end:]


def _address_of(stream: trio.SocketStream) -> str:
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "unknown"
    return f"{host}:{port}"
