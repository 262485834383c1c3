"""The turn. One task runs it, over and over; all of the server's work on behalf of clients happens in it.

    wait for the hub ─→ begin ─ read sockets ─ wake ─→ Ready → disk (append, sync) ─→ applied, answered ─→ send ─→ again

There is no `await` between taking a Ready and having carried it out, so nothing can come between a decision and its
order of execution. A turn is bounded in bytes and sockets (`hub`), so that no client starves another. Time comes from
the two clocks below and is the same for the whole turn.
"""

from collections.abc import Callable
from time import monotonic, time
from typing import Final

import trio

from zkpy.keeper.connection import Connection
from zkpy.replica import Replica
from zkpy.server.disk import Disk
from zkpy.server.hub import Hub
from zkpy.server.logs import get_log
from zkpy.server.peers import Peers

log = get_log("zkpy.keeper")

#: How long turns may follow each other before the other tasks are let in.
YIELD_MS: Final = 10
#: To how many connections a turn sends: an event may be for thousands, and whoever asks meanwhile comes between.
SENDS_MOST: Final = 1000
#: How long a word may wait for another one to the same member, in ms and, for a wait of the hub, in seconds.
PATIENCE_MS: Final = 2
PATIENCE_S: Final = 0.001
#: How often the clock task looks for what is due, at least; deadlines are never kept later than this.
CLOCK_STEP_MS: Final = 100
#: The same for a member: an election waits for deadlines that are set while the clock task sleeps.
MEMBER_CLOCK_STEP_MS: Final = 20


def now_ms() -> int:
    """Milliseconds of a clock that only goes forward."""
    return int(monotonic() * 1000)


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return int(time() * 1000)


class Driver:
    """Runs the turns of one replica."""

    def __init__(self, replica: Replica, hub: Hub, disk: Disk) -> None:
        self.replica = replica
        self.hub = hub
        self.disk = disk
        #: The other members, in an ensemble.
        self.peers: Peers | None = None
        # Connections that what is ready for them has not been sent to yet.
        self._rest: list[Connection] = []
        # `run` has let other tasks in, and may not come back for long.
        self._is_away = True

    async def run(self) -> None:
        """Run turns for ever, waiting in between for a socket.

        Clients that wait for their answer send the next request within a fraction of a millisecond, and a wait through
        Trio costs more than answering it. So the hub's own set is waited for first, for a moment; only when nothing
        comes, and every YIELD_MS in any case, the other tasks get their turn. (With one request in flight this takes
        gets from 10,000 to 17,000 a second.)

        While a learner is sent a tree, the task that does so gets its turn after each of ours: it sends a slice each
        time, and a learner is not waited for without end.
        """
        hub, disk, peers = self.hub, self.disk, self.peers
        epoll_fd = hub.epoll.fileno()
        busy = False
        yielded_ms = now_ms()
        patient_ms = 0
        self._is_away = False
        while True:
            has_rest = peers is not None and peers.has_rest
            may_wait = not has_rest and not disk.is_behind
            if peers is not None and peers.is_patient:
                now = now_ms()
                patient_ms = patient_ms or now
                may_wait_more = now - patient_ms < PATIENCE_MS
                if not (may_wait_more and (busy or (may_wait and hub.wait_a_moment(PATIENCE_S)))):
                    self.hasten()
                    patient_ms = 0
            else:
                patient_ms = 0
            if busy or disk.has_work or (may_wait and hub.wait_a_moment()):
                if has_rest or now_ms() - yielded_ms >= YIELD_MS:
                    self._is_away = True
                    await trio.lowlevel.checkpoint()
                    self._is_away = False
                    yielded_ms = now_ms()
            else:
                self._is_away = True
                await trio.lowlevel.wait_readable(epoll_fd)
                self._is_away = False
                yielded_ms = now_ms()
            busy = self.turn(sends=SENDS_MOST)

    def hasten(self) -> None:
        """Say what has waited for other words, which did not come."""
        if self.peers is not None and self.peers.hasten():
            self.finish()

    async def keep_time(self) -> None:
        """Run a turn whenever something is due. A task of its own: no timer is set and cancelled at every turn."""
        while True:
            now = now_ms()
            deadline = self.replica.deadline_ms()
            most = CLOCK_STEP_MS if self.peers is None else MEMBER_CLOCK_STEP_MS
            step = most if deadline is None else min(most, max(1, deadline - now))
            await trio.sleep(step / 1000)
            now = now_ms()
            if deadline is not None and now >= deadline:
                self.turn(is_due=True)
            elif self.hub.is_due(now):
                self.turn()

    def turn(self, *, is_due: bool = False, sends: int = 0) -> bool:
        """One turn. True if there is more to do without waiting.

        `is_due`: a deadline of the replica has come. `sends`: to how many connections to send, 0 for all; then the
        next turn comes at once if this says so.
        """
        replica = self.replica
        started_s = monotonic()
        now = int(started_s * 1000)
        replica.begin(now, wall_ms())
        # What is in flight at a member commits when the others have it, not in this turn.
        is_behind = self.disk.is_behind or (self.peers is not None and bool(replica.keeper.in_flight))
        more = self.hub.read(now, is_behind=is_behind)
        if is_due:
            replica.wake()
        if is_due or replica.keeper.proposals or self.peers is not None:
            self._carry_out()
        # else nothing but reads was taken at a server that is alone: most of what idle clients cost.
        self._answer(sends)
        if self.disk.has_work:
            self.disk.continue_snapshot(monotonic() - started_s)
        return more or bool(self._rest)

    def hear(self, word: Callable[[], None]) -> None:
        """A turn whose input is `word`: something that another member has said, or that became of a link to one."""
        self.replica.begin(now_ms(), wall_ms())
        word()
        self.finish()

    def finish(self) -> None:
        """Carry out what was decided until nothing is left, then send; also what a finished sync leads to."""
        self._carry_out()
        self._answer()

    def _carry_out(self) -> None:
        replica = self.replica
        keeper = replica.keeper
        peers = self.peers
        while True:
            ready = replica.ready()
            if ready:
                if peers is not None:
                    peers.carry_out(ready)
                    for link, zxid in ready.cuts:
                        self.disk.ask_cut(link, zxid)
                if ready.token:
                    if peers is not None:
                        # Before the disk, so that the disks of all members work at the same time.
                        peers.flush()
                    if keeper.dirty:
                        # Whoever has their answers already need not wait for the disk, and says the next thing
                        # meanwhile.
                        self.hub.flush(keeper.take_answered())
                    self.disk.carry_out(ready)
                    continue
                if ready.leads_on:
                    continue
            if peers is None:
                break
            if keeper.dirty and not keeper.in_flight:
                # Nobody waits for the other members, so the clients come first: a tenth of the time of a single write
                # at a leader.
                self.hub.flush(keeper.take_dirty())
            if not (peers.hasten() if self._is_away else peers.flush()):
                break

    def _answer(self, sends: int = 0) -> None:
        keeper = self.replica.keeper
        dirty = keeper.take_dirty()
        rest = self._rest
        if not sends:
            dirty += rest
            rest.clear()
        elif rest or len(dirty) > sends:
            # Half for those that wait already, or more if there is room; behind those that this turn has answers for.
            old = min(len(rest), max(sends // 2, sends - len(dirty)))
            waited = rest[:old]
            del rest[:old]
            rest += dirty[sends - old :]
            dirty = dirty[: sends - old] + waited
        self.hub.flush(dirty)
        for level, event, fields in keeper.take_notes():
            _LEVELS[level](event, **fields)


_LEVELS: Final[dict[str, Callable[..., None]]] = {"info": log.info, "warning": log.warning, "error": log.error}
