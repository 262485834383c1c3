"""A member: a process that comes and goes, its disk that stays, and the driver that carries out what the core decides.

    inbox: words, finished syncs ─→ turn: begin, all of the inbox, wake ─→ Ready, top to bottom: disk, wire ─→ again

The driver is production's: whatever stands in a Ready is done in the order of its fields, disk work strictly one after
the other, and `synced` is told once it is durable; at once in the turn (a quick disk), or later, several Readies
together (a slow one). A crash may come between any two steps of it (`fuse`).

What decides is a core: the Peer with a toy tree (`opaque.py`) or a whole Replica (`whole.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from tests.sim.disk import Disk, DiskError, Image, is_next
from tests.sim.network import End
from tests.sim.tale import describe_disk, describe_notification, describe_packets
from tests.sim.world import Violation
from zkpy.proto.notification import LEADING, LOOKING, STATE_NAMES
from zkpy.proto.packets import ACKEPOCH, LEADERINFO
from zkpy.proto.records import QuorumPacket
from zkpy.proto.zxid import epoch_of
from zkpy.zab.peer import Peer
from zkpy.zab.ready import Entry, Ready, Standing

if TYPE_CHECKING:
    from tests.sim.ensemble import Simulation

WALL_MS = 1_700_000_000_000
#: How long a word that nobody waits for may wait for the next one to its link.
PATIENCE_MS = 2
#: More than any turn needs: in production the process would answer nobody any more.
MOST_READIES = 1_000


class Crash(Exception):
    """The process ends here."""


class Core(Protocol):
    """What a driver drives."""

    peer: Peer

    def begin(self, now_ms: int, wall_ms: int) -> None: ...
    def wake(self) -> None: ...
    def deadline_ms(self) -> int | None: ...
    def ready(self) -> Ready: ...
    def synced(self, token: int) -> None: ...
    def last_zxid(self) -> int: ...
    def begin_image(self) -> Image: ...
    def label(self, image: Image, zxid: int) -> Image: ...
    def load(self, image: Image, entries: list[Entry]) -> None: ...
    def settle(self) -> None: ...


class Member:
    """One server of the ensemble. `life` counts its starts and ends: an event of another life says nothing."""

    def __init__(self, simulation: Simulation, sid: int) -> None:
        dice = simulation.world.dice
        self.simulation = simulation
        self.world = simulation.world
        self.network = simulation.network
        self.judges = simulation.judges
        self.marks = simulation.marks
        self.sid = sid
        self.disk = Disk()
        self.life = 0
        self.core: Core | None = None
        self.is_paused = False
        self.standing = Standing(LOOKING, False, 0, 0)
        #: Its clock began at another moment than the world's; its wall clock may be wrong, and jump.
        self.clock_offset_ms = dice.randint(0, 10_000)
        self.wall_offset_ms = dice.randint(-2_000, 2_000)
        #: 0: the disk syncs in the turn; otherwise a sync takes up to so long.
        self.sync_ms = 0
        #: There is nothing at all where it was: nobody is refused either.
        self.is_gone = False
        #: So long may words wait for a turn.
        self.turn_ms = 0
        #: Steps of the driver until the process ends; 0 = never.
        self.fuse = 0
        #: The next sync fails, and that is the end of the process.
        self.is_failing = False
        #: The next time that it writes an epoch, the process ends while it does.
        self.is_doomed = False
        #: Who wants to know when its disk begins to enter an epoch.
        self.trap: Callable[[Member], None] | None = None
        self.ends: dict[int, End] = {}
        self._links = 0
        self._inbox: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._has_turn = False
        self._timer_ms: int | None = None
        self._is_syncing = False
        self._txns = 0
        # counts how often the history was cut or replaced
        self._cuts = 0

    # --- life and death

    @property
    def is_running(self) -> bool:
        """Is there a process?"""
        return self.core is not None

    @property
    def is_listening(self) -> bool:
        """Does it take links of learners?"""
        return self.core is not None and self.standing.role == LEADING

    @property
    def is_serving(self) -> bool:
        """Does it serve clients?"""
        return self.core is not None and self.standing.is_serving

    @property
    def now_ms(self) -> int:
        """What its clock shows."""
        return self.world.now_ms + self.clock_offset_ms

    @property
    def wall_ms(self) -> int:
        """What its wall clock shows."""
        return WALL_MS + self.world.now_ms + self.wall_offset_ms

    def start(self) -> None:
        """The process begins, with what its disk holds."""
        assert self.core is None
        self.life += 1
        self.is_paused = self._has_turn = self._is_syncing = False
        self._timer_ms = None
        self._inbox = []
        self.fuse = 0
        self.trap = None
        self.standing = Standing(LOOKING, False, self.disk.current, 0)
        image, entries = self.disk.recover()
        self.world.tell(
            f"{self.sid} STARTS, history to {self.disk.last_zxid():#x}, epochs {self.disk.accepted}/{self.disk.current}"
        )
        self.core = self.simulation.make_core(self, image, entries)
        self.judges.started(self.sid, image, entries)
        self.judges.remembered(self.sid, self.disk.accepted)
        self.network.answer_dead(self.sid)
        self._schedule()

    def crash(self, *, silently: bool = False, why: str = "crashes") -> None:
        """The process ends at once. Silently: the machine goes with it, and nobody tells those it talked to."""
        if self.core is None:
            return
        self.life += 1
        self.core = None
        self.is_gone = silently
        lost = self.disk.crash(self.world.dice)
        self.world.tell(f"{self.sid} CRASHES: {why}; {lost} steps of disk work are lost")
        self.judges.ended(self.sid)
        self.simulation.ended(self)
        for end in self.ends.values():
            self.network.vanish(end, silently=silently)
        self.ends.clear()
        self.network.forget(self.sid)

    def _is_grave(self, current: int) -> bool:
        """Is it now that the doomed end: when they enter an epoch, or already when they promise it?"""
        return current > self.disk.current or self.world.dice.random() < 0.3

    def _fall(self, life: int) -> None:
        if life == self.life and not self.simulation.nemesis.is_over:
            self.crash(why="doomed")

    def pause(self) -> None:
        """The process stands still; what comes waits."""
        self.is_paused = True

    def resume(self) -> None:
        """It goes on as if nothing had been."""
        if self.is_paused:
            self.is_paused = False
            if self.core is not None:
                self._schedule()

    # --- words from outside, all through the inbox

    def give(self, word: Callable[..., None], *args: Any) -> None:
        """Something has come: it is taken up in the next turn."""
        self._inbox.append((word, args))
        if not self._has_turn:
            self._schedule()

    def new_end(self, sid: int | None) -> End:
        """An end of a new link."""
        self._links += 1
        end = self.ends[self._links] = End(self, self._links, sid)
        return end

    def link_up(self, end: End) -> None:
        assert self.core is not None
        self.give(self.core.peer.link_up, end.number, end.sid)

    def link_down(self, end: End) -> None:
        assert self.core is not None
        if self.ends.pop(end.number, None) is not None:
            self.give(self.core.peer.link_down, end.number)

    def dial_failed(self, sid: int) -> None:
        assert self.core is not None
        self.give(self.core.peer.dial_failed, sid)

    def heard(self, end: End) -> None:
        assert self.core is not None
        self.give(self.core.peer.heard, end.number)

    def receive(self, end: End, packets: list[QuorumPacket]) -> None:
        assert self.core is not None
        for one in packets:
            self.marks[one.type] += 1
            if one.type == LEADERINFO:
                end.offered = epoch_of(one.zxid)
            elif one.type == ACKEPOCH and one.data != b"\xff\xff\xff\xff" and end.far.disk is end.far.owner.disk:
                self.judges.promised(end.far.owner.sid, end.far.offered)
        if self.world.is_telling:
            self.world.tell(f"{end.far.owner.sid} → {self.sid}  {describe_packets(packets)}")
        self.give(self.core.peer.receive, end.number, packets)

    def receive_snap(self, end: End, packet: QuorumPacket, image: Image) -> None:
        assert self.core is not None
        self.world.tell(f"{end.far.owner.sid} → {self.sid}  SNAP {packet.zxid:#x}")
        self.give(self.core.peer.receive_snap, end.number, packet, self.core.label(image, packet.zxid))

    def snap_sent(self, end: End) -> None:
        if self.core is not None:
            self.give(self.core.peer.snap_sent, end.number)

    def notified(self, sid: int, message: bytes) -> None:
        if self.core is not None:
            if self.world.is_telling:
                self.world.tell(f"{sid} → {self.sid}  {describe_notification(message)}")
            self.give(self.core.peer.notified, sid, message)

    def unreachable(self, sid: int) -> None:
        """Nobody listens at this peer's election port."""
        if self.core is not None:
            self.world.tell(f"{self.sid} is refused by {sid}")
            self.give(self.core.peer.unreachable, sid)

    # --- the turn

    def _schedule(self) -> None:
        if self.is_paused or self.core is None:
            return
        self._has_turn = True
        delay = self.world.dice.randint(0, self.turn_ms) if self.turn_ms else 0
        self.world.after(delay, self._turn, self.life)

    def _turn(self, life: int) -> None:
        core = self.core
        if life != self.life or core is None:
            return
        if self.is_paused:
            self._has_turn = False
            return
        try:
            now_ms = self.now_ms
            core.begin(now_ms, self.wall_ms)
            inbox, self._inbox = self._inbox, []
            self._has_turn = False
            for word, args in inbox:
                word(*args)
            deadline = core.deadline_ms()
            if deadline is not None and now_ms >= deadline:
                core.wake()
            self._finish(core)
        except Crash as crash:
            self.crash(why=str(crash), silently=self.world.dice.random() < 0.3)
            return
        self._set_timer(core)
        if self._inbox and not self._has_turn:
            self._schedule()

    def _set_timer(self, core: Core) -> None:
        deadline = core.deadline_ms()
        if deadline is None:
            return
        when_ms = max(deadline - self.clock_offset_ms, self.world.now_ms + 1)
        if self._timer_ms is None or when_ms < self._timer_ms:
            self._timer_ms = when_ms
            self.world.at(when_ms, self._ring, self.life, when_ms)

    def _ring(self, life: int, when_ms: int) -> None:
        if life != self.life or self._timer_ms != when_ms:
            return
        self._timer_ms = None
        if not self._has_turn:
            self._schedule()

    def _finish(self, core: Core) -> None:
        """Carry out what is decided until nothing is left."""
        for _ in range(MOST_READIES):
            ready = core.ready()
            if not ready:
                break
            self._carry_out(core, ready)
            if not ready.token and not ready.leads_on:
                break
        else:
            raise Violation("Liveness", f"{self.sid} has something to do after {MOST_READIES} Readies of one turn")
        core.settle()

    def _step(self) -> None:
        """Between two steps of the driver: here the process may end."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Crash("in the middle of a Ready")

    def _carry_out(self, core: Core, ready: Ready) -> None:
        """One Ready, top to bottom."""
        world = self.world
        network = self.network
        if ready.standing is not None:
            self._stand(ready.standing)
        if ready.committed:
            # The core has applied them already, as Replica does.
            self.judges.applied(self.sid, ready.committed)
        if ready.has_disk_work:
            self._write(core, ready)
        for link, packet in ready.snaps:
            self._step()
            end = self.ends.get(link)
            if end is not None:
                self._hasten(end)
                network.send(end, packet)
                network.send(end, core.begin_image())
        for word in ready.send:
            self._step()
            link, data = word
            end = self.ends.get(link)
            if end is None:
                continue
            if word in ready.patient and world.dice.random() < 0.7:
                end.patient.append(data)
                world.after(world.dice.randint(0, PATIENCE_MS), self._hasten, end)
            else:
                self._hasten(end)
                network.send(end, data)
        for sid, message in ready.notify:
            self._step()
            network.notify(self.sid, sid, message)
        for sid in ready.dial:
            network.dial(self, sid, 5)
        for link in ready.close:
            end = self.ends.pop(link, None)
            if end is not None:
                self._hasten(end)
                network.close(end)
        for link, first, last in ready.reads:
            world.after(world.dice.randint(0, 3), self._read, self.life, link, first, last)
        for link, zxid in ready.cuts:
            world.after(world.dice.randint(0, 3), self._ask_cut, self.life, link, zxid)
        if world.is_telling:
            for level, event, fields in ready.notes:
                world.tell(f"{self.sid} {level}: {event} {fields}")

    def _hasten(self, end: End) -> None:
        """What has waited for another word to this link waits no more; a process that is gone says nothing."""
        patient, end.patient = end.patient, []
        for data in patient:
            self.network.send(end, data)

    def _stand(self, standing: Standing) -> None:
        self.standing = standing
        serves = ", serves" if standing.is_serving else ""
        self.world.tell(f"{self.sid} is {STATE_NAMES[standing.role]} {standing.leader} in {standing.epoch}{serves}")
        self.judges.stood(self.sid, standing)

    # --- the disk

    def _write(self, core: Core, ready: Ready) -> None:
        if self.world.is_telling:
            self.world.tell(f"{self.sid} writes {describe_disk(ready)}")
        if ready.append:
            self.judges.logged(self.sid, ready.append, self.standing)
        try:
            self.disk.submit(ready)
        except DiskError as error:
            self._refuse(error)
        if self.trap is not None and ready.epochs is not None and ready.epochs[1] > self.disk.current:
            self.trap(self)
        self._step()
        if self.is_doomed and ready.epochs is not None and self._is_grave(ready.epochs[1]):
            self.is_doomed = False
            self.world.after(self.world.dice.randint(0, self.sync_ms + 1), self._fall, self.life)
        if ready.restore is not None or ready.truncate >= 0:
            # The tree is replaced with it: the turn waits for that, whatever the disk is like.
            self._sync_now(core)
            self._cuts += 1
            self.marks["restore" if ready.restore is not None else "truncate"] += 1
            self._replace_tree(core, ready)
            core.synced(ready.token)
        elif self.sync_ms == 0 and not self._is_syncing:
            self._sync_now(core)
            core.synced(ready.token)
        elif not self._is_syncing:
            self._begin_sync()
        self._count(core, len(ready.append))

    def _refuse(self, error: DiskError) -> NoReturn:
        """Nothing was written, and the process ends; whoever looks after it starts it again."""
        self.disk.refused += 1
        if self.disk.refused > 1:
            # Once it may be, when what was asked for has become impossible since the disk was asked whether it is.
            raise Violation("Recovery", f"{self.sid} ends at each start: {error}") from error
        self.world.after(300, self._start_again, self.life + 1)
        raise Crash(str(error)) from error

    def _start_again(self, life: int) -> None:
        if life == self.life:
            self.start()

    def _sync_now(self, core: Core) -> None:
        if self.is_failing:
            self.is_failing = False
            raise Crash("its disk fails")
        self.disk.finish(len(self.disk.pending))
        self._step()

    def _begin_sync(self) -> None:
        self._is_syncing = True
        duration = self.world.dice.randint(0, self.sync_ms) if self.sync_ms else 0
        self.world.after(duration, self._end_sync, self.life, len(self.disk.pending))

    def _end_sync(self, life: int, count: int) -> None:
        core = self.core
        if life != self.life or core is None:
            return
        if self.is_failing:
            self.is_failing = False
            self.crash(why="its disk fails")
            return
        self._is_syncing = False
        count = min(count, len(self.disk.pending))
        if count:
            token = self.disk.finish(count)
            self.give(core.synced, token)
        if self.disk.pending:
            self._begin_sync()

    def _replace_tree(self, core: Core, ready: Ready) -> None:
        """The disk holds another history now: the tree must not be ahead of it.

        Nor may it hold what the same Ready has appended: that is not committed yet.
        """
        image, entries = self.disk.recover()
        if ready.restore is not None:
            assert isinstance(ready.restore, Image)
            image, last = ready.restore, ready.restore.zxid
        else:
            last = ready.truncate
            if core.last_zxid() <= last:
                return
            self.marks["truncate a tree that is ahead"] += 1
        entries = [entry for entry in entries if entry[0] <= last]
        core.load(image, entries)
        self.judges.replaced(self.sid, image, entries)

    def _count(self, core: Core, txns: int) -> None:
        """Now and then a snapshot is taken, and what is not needed any more deleted."""
        self._txns += txns
        if self._txns < self.simulation.snap_count:
            return
        self._txns = 0
        self.disk.roll()
        image = core.begin_image()
        self.world.after(self.world.dice.randint(0, 200), self._keep, self.life, self._cuts, image)

    def _keep(self, life: int, cuts: int, image: Image) -> None:
        # A history that was cut or replaced meanwhile has no use for an image of the old one.
        if life == self.life and cuts == self._cuts:
            image.finish()
            self.disk.keep(image)
            self.disk.purge(self.simulation.snap_retain)

    def _read(self, life: int, link: int, first: int, last: int) -> None:
        core = self.core
        if life != self.life or core is None:
            return
        entries = self.disk.entries()
        at = max((at for at, entry in enumerate(entries) if entry[0] <= first), default=-1)
        found = [entry for entry in entries[at:] if entry[0] <= last]
        is_whole = all(map(is_next, [zxid for zxid, _ in found], [zxid for zxid, _ in found[1:]]))
        if at < 0 or not is_whole or len(found) > self.simulation.read_limit:
            self.marks["log refused"] += 1
            self.give(core.peer.log_read, link, None, True)
            return
        self.marks["log read"] += 1
        chunk = self.simulation.read_chunk
        self.give(core.peer.log_read, link, found[:chunk], len(found) <= chunk)

    def _ask_cut(self, life: int, link: int, zxid: int) -> None:
        core = self.core
        if life == self.life and core is not None:
            is_possible = self.disk.can_cut(zxid)
            self.marks["cut possible" if is_possible else "cut impossible"] += 1
            self.give(core.peer.can_cut, link, is_possible)

    def describe(self) -> str:
        """For a reader of a failure: where it stands."""
        if self.core is None:
            return f"{self.sid}: down, history to {self.disk.last_zxid():#x}"
        return (
            f"{self.sid}: {STATE_NAMES[self.standing.role]} {self.standing.leader}"
            f"{' serving' if self.standing.is_serving else ''} in {self.standing.epoch}, tree to"
            f" {self.core.last_zxid():#x}, disk to {self.disk.last_zxid():#x},"
            f" epochs {self.disk.accepted}/{self.disk.current}{' paused' if self.is_paused else ''}"
        )
