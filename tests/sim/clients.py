"""Clients: each holds a session, speaks the real protocol to one member after the other, and tells the judges all.

    act: connect, or ask for something ─→ bytes, some time later ─→ the member; its answers ─→ judges

A client keeps what real clients keep: the session with its password, the greatest zxid it has seen, its watches. When
its connection ends it goes to another member, continues the session there and sets its watches again.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

import attrs

from tests.sim.tale import short
from zkpy.keeper.connection import Connection
from zkpy.proto import errors, opcodes
from zkpy.proto.frames import Framer, frame
from zkpy.proto.records import (
    ACL,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    GetChildren2Response,
    GetDataRequest,
    GetDataResponse,
    Id,
    MultiHeader,
    SetDataRequest,
    SetDataResponse,
    SetWatches,
    SyncRequest,
    WatcherEvent,
)

if TYPE_CHECKING:
    from jute.record import Record
    from tests.sim.ensemble import Simulation
    from tests.sim.member import Member
    from tests.sim.whole import Whole

_HEADER = Struct(">ii")
_REPLY = Struct(">iqi")
OPEN = [ACL(opcodes.PERM_ALL, Id("world", "anyone"))]
EPHEMERAL, SEQUENTIAL = 1, 2
#: Few paths, so that clients meet.
PATHS = ("/a", "/b", "/c", "/a/x", "/a/y", "/b/x", "/a/x/deep")
WRITES = frozenset((opcodes.CREATE, opcodes.SET_DATA, opcodes.DELETE, opcodes.MULTI, opcodes.CLOSE_SESSION))


@attrs.define
class Call:
    """One request that waits for its reply."""

    xid: int
    op: int
    path: str
    data: bytes
    flags: int
    asked_ms: int
    #: The greatest zxid of a write that anybody had an answer to when this was asked.
    floor: int
    watch: bool = False


class Client:
    """One session, or one after the other."""

    def __init__(self, simulation: Simulation, number: int) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.judges = simulation.judges
        self.number = number
        self.timeout_ms = self.world.dice.choice((5, 10, 30)) * simulation.swarm.tick_ms
        self.member: Member | None = None
        self.session_id = 0
        self.password = bytes(16)
        self.last_zxid = 0
        #: path → (zxid it was set at, is it for a node that is not there)
        self.watches: dict[str, tuple[int, bool]] = {}
        self.is_ending = False
        self.is_done = False
        self._xid = 0
        self._count = 0
        self._calls: deque[Call] = deque()
        # when they were sent
        self._pings: deque[int] = deque()
        self._core: Whole | None = None
        self._connection: Connection | None = None
        self._framer = Framer(1 << 24)
        self._is_greeted = False
        self._is_dialing = False
        self._is_stopped = False
        # every connection, and every attempt, has its own number: words of an old one say nothing
        self._generation = 0
        self._out_ms = self._in_ms = 0
        self._heard_ms = 0
        self._keep_alive()

    def describe(self) -> str:
        """For a reader of a failure."""
        at = self.member.sid if self.member is not None else "no member"
        return f"client {self.number} at {at}, session {self.session_id:#x}, waiting for {list(self._calls)[:2]}"

    # --- the connection

    def act(self) -> None:
        """Do something: connect if there is no connection."""
        if self._is_stopped:
            return
        if self._connection is None:
            self._dial()
        elif self._is_greeted and len(self._calls) < 8:
            self._ask()

    def stop(self) -> None:
        """Nothing more."""
        self._is_stopped = True

    def server_ended(self, member: Member) -> None:
        """A member's process is gone, and its connections with it."""
        if self.member is member:
            self._lose()

    def _dial(self) -> None:
        if self._is_dialing:
            return
        self._is_dialing = True
        members = list(self.simulation.members.values())
        member = self.world.dice.choice(members)
        self._generation += 1
        self.world.after(self.world.dice.randint(1, 30), self._reach, member, self._generation)

    def _reach(self, member: Member, generation: int) -> None:
        self._is_dialing = False
        core = member.core
        if core is None or self._is_stopped or generation != self._generation:
            return
        self.member = member
        self._core = core  # type: ignore[assignment]
        member.give(core.open, self, generation)  # type: ignore[attr-defined]
        # A member that stands still lets the client wait; not for ever.
        self.world.after(min(500, self.timeout_ms), self._give_up, generation)

    def _give_up(self, generation: int) -> None:
        if generation == self._generation and not self._is_greeted:
            self._hang_up()

    def connected(self, core: Whole, connection: Connection, generation: int) -> None:
        """The member has taken the connection."""
        if generation != self._generation or self._is_stopped:
            core.hang_up(connection)
            return
        self._connection = connection
        self._framer = Framer(1 << 24)
        self._is_greeted = False
        self._calls.clear()
        self._pings.clear()
        self._heard_ms = self.world.now_ms
        hello = ConnectRequest(0, self.last_zxid, self.timeout_ms, self.session_id, self.password, False)
        self._send(frame(hello.to_bytes()))

    def _send(self, data: bytes) -> None:
        core, member = self._core, self.member
        assert core is not None
        assert member is not None
        self._out_ms = max(self._out_ms, self.world.now_ms + self.world.dice.randint(0, 5))
        self.world.at(self._out_ms, self._deliver, core, member, member.life, self._connection, data)

    def _deliver(self, core: Whole, member: Member, life: int, connection: Connection, data: bytes) -> None:
        if member.life == life:
            member.give(core.receive, connection, data)

    def sent_to(self, connection: Connection, data: bytes | None) -> None:
        """The member sends bytes, or (None) closes."""
        self._in_ms = max(self._in_ms, self.world.now_ms + self.world.dice.randint(0, 5))
        self.world.at(self._in_ms, self._receive, connection, data)

    def _lose(self) -> None:
        """The connection is gone; what was asked on it may have happened or not."""
        for call in self._calls:
            self.judges.lost(self.session_id, call)  # type: ignore[attr-defined]
        self._calls.clear()
        self._connection = None
        self._core = self.member = None
        self._is_greeted = self._is_dialing = False
        self._generation += 1

    def _hang_up(self) -> None:
        core, member, connection = self._core, self.member, self._connection
        self._lose()
        if core is not None and member is not None and member.core is core and connection is not None:
            # Behind what was sent, or so abruptly that some of it is lost.
            when_ms = self._out_ms if self.world.dice.random() < 0.7 else 0
            self.world.at(when_ms, self._end, core, member, member.life, connection)

    def _end(self, core: Whole, member: Member, life: int, connection: Connection) -> None:
        if member.life == life:
            member.give(core.hang_up, connection)

    def _keep_alive(self) -> None:
        if self._is_stopped:
            return
        if self._connection is not None and self._is_greeted:
            if self.world.now_ms - self._heard_ms > self.timeout_ms:
                self._hang_up()
            else:
                self._pings.append(self.world.now_ms)
                self._send(frame(_HEADER.pack(opcodes.XID_PING, opcodes.PING)))
        elif self._connection is None:
            self._dial()
        self.world.after(max(1, self.timeout_ms // 4), self._keep_alive)

    def leave(self) -> None:
        """Go on at another member, now."""
        self._hang_up()
        self._dial()

    # --- what it asks

    def write(self) -> None:
        """One plain write."""
        if self._is_greeted:
            self._call(opcodes.SET_DATA, self.world.dice.choice(PATHS), data=self._data())

    def _data(self) -> bytes:
        self._count += 1
        return b"%d.%d" % (self.number, self._count)

    def _ask(self) -> None:
        dice = self.world.dice
        if self.is_ending:
            if not self.is_done and not self._calls:
                self._call(opcodes.SET_DATA, "/", data=self._data())
            return
        path = dice.choice(PATHS)
        what = dice.random()
        if what < 0.2:
            self._call(opcodes.CREATE, path, data=self._data(), flags=dice.choice((0, 0, EPHEMERAL)))
        elif what < 0.3:
            self._call(opcodes.CREATE, "/a/n", data=self._data(), flags=SEQUENTIAL | dice.choice((0, EPHEMERAL)))
        elif what < 0.5:
            self._call(opcodes.SET_DATA, path, data=self._data())
        elif what < 0.6:
            self._call(opcodes.DELETE, path)
        elif what < 0.66:
            self._call(opcodes.MULTI, path, data=self._data())
        elif what < 0.7:
            self._call(opcodes.SYNC, path)
        elif what < 0.85:
            self._call(opcodes.GET_DATA, path, watch=dice.random() < 0.5)
        elif what < 0.92:
            self._call(opcodes.EXISTS, path, watch=dice.random() < 0.5)
        elif what < 0.97:
            self._call(opcodes.GET_CHILDREN2, path)
        elif what < 0.99:
            self._hop()
        else:
            self._call(opcodes.CLOSE_SESSION, "")

    def _hop(self) -> None:
        """Go to another member, without waiting for an answer to what was asked last."""
        for _ in range(self.world.dice.choice((0, 1, 2))):
            self.write()
        self.leave()

    def _call(self, op: int, path: str, *, data: bytes = b"", flags: int = 0, watch: bool = False) -> None:
        self._xid += 1
        call = Call(self._xid, op, path, data, flags, self.world.now_ms, self.judges.floor, watch)  # type: ignore[attr-defined]
        self._calls.append(call)
        if self.world.is_telling:
            self.world.tell(f"client {self.number} asks {call}")
        body: Record | bytes = b""
        if op == opcodes.CREATE:
            body = CreateRequest(path, data, OPEN, flags)
        elif op == opcodes.SET_DATA:
            body = SetDataRequest(path, data, -1)
        elif op == opcodes.DELETE:
            body = DeleteRequest(path, -1)
        elif op == opcodes.SYNC:
            body = SyncRequest(path)
        elif op in (opcodes.GET_DATA, opcodes.EXISTS, opcodes.GET_CHILDREN2):
            body = GetDataRequest(path, watch)
        elif op == opcodes.MULTI:
            parts = [
                (opcodes.CREATE, CreateRequest("/a/m", data, OPEN, SEQUENTIAL)),
                (opcodes.SET_DATA, SetDataRequest(path, data, -1)),
            ]
            body = b"".join([MultiHeader(one, False, -1).to_bytes() + request.to_bytes() for one, request in parts])
            body += MultiHeader(-1, True, -1).to_bytes()
        self._send(frame(_HEADER.pack(call.xid, op) + (body if isinstance(body, bytes) else body.to_bytes())))

    # --- what it hears

    def _receive(self, connection: Connection, data: bytes | None) -> None:
        if connection is not self._connection:
            return
        if data is None:
            self._lose()
            return
        self._heard_ms = self.world.now_ms
        for body in self._framer.feed(data):
            if self._is_greeted:
                self._hear(body)
            else:
                self._greet(ConnectResponse.decode(body, 0)[0])
            if self._connection is None:
                return

    def _greet(self, response: ConnectResponse) -> None:
        if response.session_id == 0 or response.time_out <= 0:
            self.judges.refused(self.session_id)  # type: ignore[attr-defined]
            self._forget_session()
            self._hang_up()
            return
        self.session_id = response.session_id
        self.password = response.passwd or b""
        self.timeout_ms = response.time_out
        self._is_greeted = True
        if self.world.is_telling:
            assert self.member is not None
            self.world.tell(f"client {self.number} at {self.member.sid}: session {self.session_id:#x}")
        if self.watches:
            exist = [path for path, (_, is_absent) in self.watches.items() if is_absent]
            there = [path for path, (_, is_absent) in self.watches.items() if not is_absent]
            call = Call(opcodes.XID_SET_WATCHES, opcodes.SET_WATCHES, "", b"", 0, self.world.now_ms, 0)
            self._calls.append(call)
            request = SetWatches(self.last_zxid, there, exist, [])
            self._send(frame(_HEADER.pack(opcodes.XID_SET_WATCHES, opcodes.SET_WATCHES) + request.to_bytes()))
        if self.world.dice.random() < 0.5:
            self._ask()

    def _hear(self, body: bytes) -> None:
        xid, zxid, err = _REPLY.unpack_from(body)
        judges = self.judges
        if xid == opcodes.XID_PING:
            judges.answered(self.session_id, self._pings.popleft(), self.timeout_ms)  # type: ignore[attr-defined]
            return
        if xid == opcodes.XID_EVENT:
            event = WatcherEvent.decode(body, 16)[0]
            path = event.path or ""
            if path not in self.watches:
                judges.fail("Watch", f"client {self.number} hears of {path}, which it does not watch")
            del self.watches[path]
            self.world.tell(f"client {self.number} hears event {event.type} of {path}")
            self._hear_event(path)
            return
        if not self._calls or self._calls[0].xid != xid:
            judges.fail(
                "SessionOrder", f"client {self.number} gets an answer to {xid}, waiting for {list(self._calls)[:2]}"
            )
        call = self._calls.popleft()
        if self.world.is_telling:
            self.world.tell(f"client {self.number} hears at {short(zxid)} error {err} for {call}")
        if call.op == opcodes.SET_WATCHES:
            self._set_anew(zxid)
            return
        if zxid < self.last_zxid:
            judges.fail("SessionOrder", f"client {self.number} has seen {self.last_zxid:#x} and now sees {zxid:#x}")
        self.last_zxid = zxid
        for path, (since, _) in self.watches.items():
            judges.check_watch(self.number, path, since, zxid)  # type: ignore[attr-defined]
        self._take(call, zxid, err, body)
        if self.is_ending and call.op == opcodes.SET_DATA and call.path == "/" and err == 0:
            self.is_done = True
        if call.op == opcodes.CLOSE_SESSION:
            self._forget_session()

    def _forget_session(self) -> None:
        """The next connection asks for a new one, which may see an older tree, as those of real clients may."""
        self.session_id, self.password = 0, bytes(16)
        self.last_zxid = 0
        self.watches.clear()

    def _hear_event(self, path: str) -> None:
        """A watch has fired."""

    def _set_anew(self, zxid: int) -> None:
        """The watches are set again, by a member that is at this zxid: what has changed must have been told before."""
        for path, (since, is_absent) in list(self.watches.items()):
            if is_absent:
                # A znode that has come and gone meanwhile is none, then as before: nobody tells of that.
                self.judges.check_absence(self.number, path, zxid)  # type: ignore[attr-defined]
                self.watches[path] = (zxid, True)
            else:
                self.judges.check_watch(self.number, path, since, zxid)  # type: ignore[attr-defined]

    def _take(self, call: Call, zxid: int, err: int, body: bytes) -> None:
        judges = self.judges
        if call.op in WRITES:
            judges.written(self.session_id, call, zxid, err)  # type: ignore[attr-defined]
            if call.op == opcodes.CREATE and not err:
                judges.created(call, zxid, CreateResponse.decode(body, 16)[0].path)  # type: ignore[attr-defined]
            return
        if call.op == opcodes.SYNC:
            return
        node: tuple[bytes | None, int, int] | None = None
        children: list[str] | None = None
        if not err:
            if call.op == opcodes.GET_DATA:
                response = GetDataResponse.decode(body, 16)[0]
                node = response.data, response.stat.mzxid, response.stat.version
            elif call.op == opcodes.EXISTS:
                stat = SetDataResponse.decode(body, 16)[0].stat
                node = None, stat.mzxid, stat.version
            else:
                children = sorted([name or "" for name in GetChildren2Response.decode(body, 16)[0].children or []])
        elif err != errors.NONODE:
            judges.fail("Read", f"client {self.number} is told {err} for {call}")
        judges.read(self.number, call, zxid, node, children)  # type: ignore[attr-defined]
        if call.watch and (not err or call.op == opcodes.EXISTS):
            self.watches[call.path] = (zxid, bool(err))
