"""A world of clients around one Replica: frames in, decoded replies out, virtual time, a log kept in memory.

The law: nothing here decides anything; it carries bytes exactly as the real driver does. `World.holds_log` keeps what
is proposed unsynced until `World.sync`, so that a test sees what happens while writes are in flight.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Any

from jute.record import Record
from zkpy.keeper.connection import Connection
from zkpy.keeper.keeper import Keeper
from zkpy.keeper.settings import Settings
from zkpy.proto import opcodes
from zkpy.proto.frames import Framer, frame
from zkpy.proto.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CheckWatchesRequest,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    GetACLRequest,
    GetChildren2Response,
    GetDataRequest,
    GetDataResponse,
    Id,
    MultiHeader,
    SetACLRequest,
    SetDataRequest,
    SetDataResponse,
    SetWatches,
    SetWatches2,
    Stat,
    WatcherEvent,
)
from zkpy.replica import Replica
from zkpy.tree.datatree import DataTree
from zkpy.tree.txns import decode_txn
from zkpy.zab.peer import Peer

_HEADER = Struct(">ii")
_REPLY = Struct(">iqi")

START_MS = 1_000_000
WALL_MS = 1_700_000_000_000

OPEN = [ACL(opcodes.PERM_ALL, Id("world", "anyone"))]


def acl(*entries: tuple[int, str, str]) -> list[ACL]:
    """An ACL from (perms, scheme, id) triples."""
    return [ACL(perms, Id(scheme, id_)) for perms, scheme, id_ in entries]


@dataclass(frozen=True)
class Reply:
    """A reply, with its body still encoded."""

    xid: int
    zxid: int
    err: int
    body: bytes = b""


@dataclass(frozen=True)
class Event:
    """A watch event."""

    kind: int
    path: str
    zxid: int


Packet = Reply | Event | ConnectResponse


class Client:
    """One client connection. `inbox` holds what was received and not taken; `is_closed` once the server hung up."""

    def __init__(self, world: "World", ip: str) -> None:
        self.world = world
        self.connection: Connection = world.replica.opened(ip, f"{ip}:{len(world.clients) + 40000}")
        self.inbox: list[Packet] = []
        self.raw = bytearray()
        self.is_closed = False
        self.session_id = 0
        self.password = b""
        self.timeout_ms = 0
        self.xid = 0
        # A client of the old kind does not get the readOnly flag back.
        self.knows_read_only = True
        #: A connection that says a four-letter word gets text back, not frames.
        self.speaks_frames = True
        self._framer = Framer(1 << 30)
        self._greeted = False
        world.clients[self.connection] = self

    # --- out ---------------------------------------------------------------------------------------------------

    def send(self, *packets: bytes) -> None:
        """Bytes to the server, in one piece, then everything that follows from them."""
        self.world.replica.received(self.connection, b"".join(packets))
        self.world.run()

    def request(self, op: int, body: Record | bytes = b"", xid: int | None = None) -> bytes:
        """A framed request; its xid is the next one unless it is given."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        return frame(_HEADER.pack(xid, op) + (body if isinstance(body, bytes) else body.to_bytes()))

    def post(self, op: int, body: Record | bytes = b"", xid: int | None = None) -> None:
        """Send one request without looking for its reply."""
        self.send(self.request(op, body, xid))

    def call(self, op: int, body: Record | bytes = b"", xid: int | None = None) -> Reply:
        """Send one request and take its reply, which must be the only packet that comes."""
        self.post(op, body, xid)
        return self.reply()

    # --- in ----------------------------------------------------------------------------------------------------

    def take(self) -> list[Packet]:
        """Everything received since the last call."""
        packets = self.inbox
        self.inbox = []
        return packets

    def reply(self) -> Reply:
        """The one packet received, a reply."""
        (packet,) = self.take()
        assert isinstance(packet, Reply), packet
        return packet

    def events(self) -> list[tuple[int, str]]:
        """(type, path) of everything received, all of it events."""
        found = []
        for packet in self.take():
            assert isinstance(packet, Event), packet
            found.append((packet.kind, packet.path))
        return found

    def receive(self, data: bytes) -> None:
        """Bytes from the server."""
        self.raw += data
        if not self.speaks_frames:
            return
        for body in self._framer.feed(data):
            if not self._greeted:
                self._greeted = True
                self.inbox.append(ConnectResponse.decode(body if self.knows_read_only else body + b"\0", 0)[0])
                continue
            xid, zxid, err = _REPLY.unpack_from(body)
            if xid == opcodes.XID_EVENT:
                event = WatcherEvent.decode(body, 16)[0]
                assert event.state == 3
                assert err == 0
                self.inbox.append(Event(event.type, event.path or "", zxid))
            else:
                self.inbox.append(Reply(xid, zxid, err, body[16:]))

    # --- the operations ----------------------------------------------------------------------------------------

    def connect(
        self,
        timeout_ms: int = 10000,
        session_id: int = 0,
        password: bytes | None = bytes(16),
        zxid: int = 0,
        read_only: bool = False,
    ) -> ConnectResponse | None:
        """Shake hands; the answer, None if the server just closed."""
        self.send(frame(ConnectRequest(0, zxid, timeout_ms, session_id, password, read_only).to_bytes()))
        if not self.inbox:
            return None
        (response,) = self.take()
        assert isinstance(response, ConnectResponse)
        self.session_id, self.password = response.session_id, response.passwd or b""
        self.timeout_ms = response.time_out
        return response

    def create(
        self,
        path: str | None,
        data: bytes | None = b"",
        flags: int = 0,
        entries: list[ACL] | None = OPEN,
        op: int = opcodes.CREATE,
    ) -> Reply:
        """create, or one of its kin."""
        return self.call(op, CreateRequest(path, data, entries, flags))

    def delete(self, path: str | None, version: int = -1) -> Reply:
        """delete."""
        return self.call(opcodes.DELETE, DeleteRequest(path, version))

    def set(self, path: str | None, data: bytes | None = b"", version: int = -1) -> Reply:
        """setData."""
        return self.call(opcodes.SET_DATA, SetDataRequest(path, data, version))

    def set_acl(self, path: str | None, entries: list[ACL] | None, version: int = -1) -> Reply:
        """setACL."""
        return self.call(opcodes.SET_ACL, SetACLRequest(path, entries, version))

    def get(self, path: str | None, watch: bool = False) -> Reply:
        """getData."""
        return self.call(opcodes.GET_DATA, GetDataRequest(path, watch))

    def exists(self, path: str | None, watch: bool = False) -> Reply:
        """exists."""
        return self.call(opcodes.EXISTS, GetDataRequest(path, watch))

    def children(self, path: str | None, watch: bool = False) -> Reply:
        """getChildren2."""
        return self.call(opcodes.GET_CHILDREN2, GetDataRequest(path, watch))

    def names(self, path: str) -> list[str | None]:
        """The names of a node's children, sorted."""
        return sorted(GetChildren2Response.decode(self.children(path).body, 0)[0].children or [])

    def get_acl(self, path: str) -> Reply:
        """getACL."""
        return self.call(opcodes.GET_ACL, GetACLRequest(path))

    def data(self, path: str) -> bytes | None:
        """A node's data."""
        return GetDataResponse.decode(self.get(path).body, 0)[0].data

    def stat(self, path: str) -> Stat:
        """A node's Stat, which must exist."""
        return stat_of(self.exists(path))

    def auth(self, scheme: str | None, credentials: bytes | None) -> Reply:
        """An auth packet."""
        return self.call(opcodes.AUTH, AuthPacket(0, scheme, credentials), opcodes.XID_AUTH)

    def add_watch(self, path: str | None, mode: int) -> Reply:
        """addWatch."""
        return self.call(opcodes.ADD_WATCH, AddWatchRequest(path, mode))

    def watch_request(self, op: int, path: str | None, kind: int) -> Reply:
        """checkWatches or removeWatches."""
        return self.call(op, CheckWatchesRequest(path, kind))

    def set_watches(
        self, zxid: int, data: list[str], exist: list[str], child: list[str], *more: list[str]
    ) -> list[Packet]:
        """setWatches, or setWatches2 where more lists are given: everything that comes back."""
        body: Record = SetWatches2(zxid, data, exist, child, *more) if more else SetWatches(zxid, data, exist, child)
        self.post(opcodes.SET_WATCHES2 if more else opcodes.SET_WATCHES, body, opcodes.XID_SET_WATCHES)
        return self.take()

    def multi(self, *operations: tuple[int, Record], op: int = opcodes.MULTI) -> Reply:
        """multi or multiRead."""
        return self.call(op, multi_body(*operations))

    def close_session(self) -> Reply:
        """closeSession."""
        return self.call(opcodes.CLOSE_SESSION)

    def hang_up(self) -> None:
        """The client's side of the connection goes away."""
        self.is_closed = True
        self.world.replica.closed(self.connection)
        self.world.run()


def stat_of(reply: Reply) -> Stat:
    """The Stat in the answer to exists, setData or setACL."""
    assert reply.err == 0, reply
    stat: Stat = SetDataResponse.decode(reply.body, 0)[0].stat
    return stat


def path_of(reply: Reply) -> str:
    """The path in the answer to a create of any kind."""
    assert reply.err == 0, reply
    path = CreateResponse.decode(reply.body, 0)[0].path
    assert path is not None
    return path


def multi_body(*operations: tuple[int, Record]) -> bytes:
    """The body of a multi."""
    parts = [MultiHeader(op, False, -1).to_bytes() + body.to_bytes() for op, body in operations]
    return b"".join([*parts, MultiHeader(-1, True, -1).to_bytes()])


def create_op(path: str, flags: int = 0, data: bytes = b"", op: int = opcodes.CREATE) -> tuple[int, Record]:
    """A create inside a multi."""
    return op, CreateRequest(path, data, OPEN, flags)


def create_ttl_op(path: str, flags: int, ttl_ms: int) -> tuple[int, Record]:
    """A createTTL inside a multi."""
    return opcodes.CREATE_TTL, CreateTTLRequest(path, b"", OPEN, flags, ttl_ms)


def delete_op(path: str, version: int = -1) -> tuple[int, Record]:
    """A delete inside a multi."""
    return opcodes.DELETE, DeleteRequest(path, version)


def set_op(path: str, data: bytes = b"", version: int = -1) -> tuple[int, Record]:
    """A setData inside a multi."""
    return opcodes.SET_DATA, SetDataRequest(path, data, version)


def check_op(path: str, version: int = -1) -> tuple[int, Record]:
    """A check inside a multi."""
    return opcodes.CHECK, CheckVersionRequest(path, version)


class World:
    """A server without I/O, and its clients."""

    def __init__(self, tree: DataTree | None = None, peer: Peer | None = None, **settings: Any) -> None:
        self.now_ms = START_MS
        self.wall_ms = WALL_MS
        self.tree = tree if tree is not None else DataTree()
        self.keeper = Keeper(self.tree, Settings(**settings), self.now_ms, self.wall_ms)
        self.replica = Replica(self.keeper, peer)
        self.clients: dict[Connection, Client] = {}
        #: (zxid, txn bytes) of everything that was to be logged, in order
        self.log: list[tuple[int, bytes]] = []
        self.holds_log = False
        self._unsynced = 0
        self.replica.begin(self.now_ms, self.wall_ms)

    def open(self, ip: str = "127.0.0.1") -> Client:
        """A connection without a session."""
        return Client(self, ip)

    def client(self, timeout_ms: int = 10000, ip: str = "127.0.0.1") -> Client:
        """A connection with a new session."""
        client = self.open(ip)
        assert client.connect(timeout_ms) is not None
        return client

    def word(self, word: bytes, ip: str = "127.0.0.1") -> str:
        """What the server says to a four-letter word on a connection of its own, which it must close."""
        client = self.open(ip)
        client.speaks_frames = False
        client.send(word)
        assert client.is_closed
        return client.raw.decode()

    def run(self) -> None:
        """Carry out everything that is decided, and deliver what is to be sent."""
        while True:
            ready = self.replica.ready()
            if ready.append:
                self.log += ready.append
                self._unsynced = ready.token
                if not self.holds_log:
                    self.replica.synced(ready.token)
            if not ready and not self._deliver():
                return

    def sync(self) -> None:
        """Everything that was logged reaches the disk now."""
        self.replica.synced(self._unsynced)
        self.run()

    def advance(self, ms: int) -> None:
        """Let time pass, stopping at each deadline."""
        end = self.now_ms + ms
        while True:
            deadline = self.replica.deadline_ms()
            at = end if deadline is None else min(end, max(deadline, self.now_ms))
            self.wall_ms += at - self.now_ms
            self.now_ms = at
            self.replica.begin(self.now_ms, self.wall_ms)
            if deadline is not None and deadline <= at:
                self.replica.wake()
                self.run()
            if at == end and (deadline is None or deadline > end):
                return

    def txns(self) -> list[tuple[Any, Any]]:
        """(header, record) of everything logged."""
        return [decode_txn(entry)[:2] for _, entry in self.log]

    def check(self) -> None:
        """Assert every invariant, and that nothing outstanding is left of what is applied."""
        self.tree.check()
        self.keeper.watches.check()
        if not self.keeper.in_flight and self.keeper.learning is None:
            assert not self.keeper.outstanding.shadows
            assert not self.keeper.outstanding.changes
            assert self.keeper.outstanding.digest == self.tree.digest

    def _deliver(self) -> bool:
        resumed = False
        for connection in self.keeper.take_dirty():
            client = self.clients[connection]
            if client.is_closed:
                continue
            data = b"".join(connection.out)
            connection.out.clear()
            client.receive(data)
            if connection.closing:
                client.is_closed = True
                self.replica.closed(connection)
            elif connection.backlog or (connection.waiting and not connection.waiting[0].zxid):
                self.replica.resume(connection)
                resumed = True
        return resumed
