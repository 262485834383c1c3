"""Lockers: clients that contend for a lock with ephemeral sequential znodes, as the recipes for locks do.

    create ─→ children ─┬─→ ours is the lowest: write into it ─→ HELD ─→ write what the lock protects, now and then
       ↑         ↑      └─→ watch the one before ours ─→ it is gone ─→ children        │
       │         └ the connection was lost, and the session lives                      ├─→ delete ours
       └ the session is over; or ours is gone ←────────────────────────────────────────┴─→ or close, or die

A name begins with who it is, so whoever does not know whether its create was carried out looks for its own, behind a
sync. A holder believes that it holds only for so long as the servers cannot have let its session expire, counted from
the sending of the last write that was answered; what it does after that moment is nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.clients import EPHEMERAL, SEQUENTIAL, Call, Client
from tests.sim.locks import LOCK, Locks, number_of
from zkpy.proto import errors, opcodes
from zkpy.proto.records import CreateResponse, GetChildren2Response, SetDataResponse

if TYPE_CHECKING:
    from tests.sim.ensemble import Simulation


class Locker(Client):
    """One contender after the other."""

    def __init__(self, simulation: Simulation, number: int, locks: Locks) -> None:
        super().__init__(simulation, number)
        self.timeout_ms = self.world.dice.choice((10, 20)) * simulation.swarm.tick_ms
        self._locks = locks
        # how often it has contended: the znodes of each time have another name
        self._times = 0
        #: The znode of this time, and the one that it waits for.
        self._mine = ""
        self._ahead = ""
        # The znode's czxid, while the lock is held.
        self._token = 0
        # A create was sent whose answer was lost; a delete was sent.
        self._is_in_doubt = self._is_leaving = False
        # In the end: the lock was held once more.
        self._has_held = False

    def describe(self) -> str:
        return f"{super().describe()}, with {self._mine or 'no znode'} behind {self._ahead or 'nobody'}"

    @property
    def _prefix(self) -> str:
        return f"{LOCK}/{self.number}.{self._times}-"

    # --- what it does

    def _ask(self) -> None:
        if self._calls or self.is_done:
            return
        if self._is_leaving:
            self._call(opcodes.DELETE, self._mine)
        elif self._token:
            self._hold()
        elif self._ahead in self.watches:
            self._grow_tired()
        elif self._is_in_doubt:
            self._call(opcodes.SYNC, LOCK)
        elif not self._mine:
            self._stand_in_line()
        else:
            self._call(opcodes.GET_CHILDREN2, LOCK)

    def _stand_in_line(self) -> None:
        self._call(opcodes.CREATE, self._prefix, data=self._data(), flags=EPHEMERAL | SEQUENTIAL)

    def _hold(self) -> None:
        if not self._locks.believes(self.number):
            self._release()
            return
        what = self.world.dice.random()
        if self._has_held and self.is_ending:
            self._release()
        elif what < 0.5 or self.is_ending:
            self._call(opcodes.SET_DATA, LOCK, data=self._mine.encode())
        elif what < 0.75:
            self._release()
        elif what < 0.78:
            # What is still on its way when it goes on at another member must not come behind what it does there.
            self._call(opcodes.SET_DATA, LOCK, data=self._mine.encode())
            self.leave()
        elif what < 0.81:
            self._die()
        elif what < 0.84:
            self._locks.given_up(self.number)
            self._call(opcodes.CLOSE_SESSION, "")

    def _release(self) -> None:
        """From now on it does not hold; the others hear of it when its znode is gone."""
        self._locks.given_up(self.number)
        self._token = 0
        self._is_leaving = True
        self._call(opcodes.DELETE, self._mine)

    def _grow_tired(self) -> None:
        what = self.world.dice.random()
        if self.is_ending or what > 0.01:
            return
        if what < 0.007:
            self._hang_up()
        else:
            self._die()

    def _die(self) -> None:
        """The process ends, and another begins in its place; the session is left to expire."""
        self._locks.given_up(self.number)
        self.world.tell(f"client {self.number} DIES")
        self._hang_up()
        self._forget_session()

    def write(self) -> None:
        pass

    # --- what it hears

    def _take(self, call: Call, zxid: int, err: int, body: bytes) -> None:
        super()._take(call, zxid, err, body)
        if self._connection is None or (err and err not in (errors.NONODE, errors.NODEEXISTS)):
            return
        if call.op == opcodes.SYNC:
            self._call(opcodes.GET_CHILDREN2, LOCK)
        elif call.op == opcodes.CREATE:
            self._created(call, err, body)
        elif call.op == opcodes.GET_CHILDREN2:
            names = [] if err else GetChildren2Response.decode(body, 16)[0].children or []
            self._look(sorted([f"{LOCK}/{name}" for name in names], key=number_of))
        elif call.op == opcodes.GET_DATA and err:
            self._call(opcodes.GET_CHILDREN2, LOCK)
        elif call.op == opcodes.DELETE:
            self._start_over()
            self.is_done = self.is_ending and self._has_held
        elif call.op == opcodes.SET_DATA and err:
            self._start_over()
        elif call.op == opcodes.SET_DATA:
            if call.path == self._mine:
                self._token = SetDataResponse.decode(body, 16)[0].stat.czxid
                self._locks.granted(self.number, self.session_id, self._mine, self._token, zxid)
            else:
                self._has_held = self.is_ending
            self._locks.renewed(self.number, call.asked_ms, self.timeout_ms)

    def _created(self, call: Call, err: int, body: bytes) -> None:
        if call.path == LOCK:
            self._stand_in_line()
        elif err:
            self._call(opcodes.CREATE, LOCK, data=self._data())
        else:
            self._mine = CreateResponse.decode(body, 16)[0].path or ""
            self._call(opcodes.GET_CHILDREN2, LOCK)

    def _look(self, paths: list[str]) -> None:
        """These contend, in this order."""
        if self._is_in_doubt:
            self._is_in_doubt = False
            ours = [path for path in paths if path.startswith(self._prefix)]
            if not ours:
                self._stand_in_line()
                return
            self._mine = ours[0]
        if self._mine not in paths:
            self._start_over()
            return
        at = paths.index(self._mine)
        if not at:
            self._call(opcodes.SET_DATA, self._mine, data=self._data())
        else:
            self._ahead = paths[at - 1]
            self._call(opcodes.GET_DATA, self._ahead, watch=True)

    def _hear_event(self, path: str) -> None:
        if path == self._ahead and not self._calls:
            self._call(opcodes.GET_CHILDREN2, LOCK)

    def _lose(self) -> None:
        self._is_in_doubt |= any(call.op == opcodes.CREATE and call.path != LOCK for call in self._calls)
        super()._lose()

    def _start_over(self) -> None:
        self._locks.given_up(self.number)
        self._times += 1
        self._mine = self._ahead = ""
        self._token = 0
        self._is_in_doubt = self._is_leaving = False

    def _forget_session(self) -> None:
        super()._forget_session()
        self._start_over()
