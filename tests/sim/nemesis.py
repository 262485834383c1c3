"""The nemesis: does to an ensemble what its swarm has drawn, and in the end makes all of it good.

A disk that is lost, or put back from a backup, is a new member under an old name, and ZAB does not survive every one of
these: whoever has acknowledged something must not forget it. So it happens only to observers, and to a voter of whose
history and promises so many others have all that every quorum has one of them (`may_lose`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim.coup import Coup
from tests.sim.disk import Disk
from tests.sim.member import Member
from tests.sim.world import NEVER_MS

if TYPE_CHECKING:
    from tests.sim.ensemble import Simulation

#: How long a member stands still at most.
MOST_PAUSED_MS = 3_000


class Nemesis:
    """The one who strikes."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.network = simulation.network
        self.members = simulation.members
        self.is_over = False
        #: How often each fault has struck.
        self.strikes: dict[str, int] = {}
        self._faults = list(simulation.swarm.odds)
        self._weights = list(simulation.swarm.odds.values())
        self._backups: dict[int, Disk] = {}

    def strike_on(self) -> None:
        """Strike now and then, until it is over."""
        if self.is_over:
            return
        dice = self.world.dice
        fault = dice.choices(self._faults, self._weights)[0]
        if _FAULTS[fault](self):
            self.strikes[fault] = self.strikes.get(fault, 0) + 1
            if fault == "coup":
                return  # it says when to strike on
        pause_ms = self.simulation.swarm.fault_ms * self.simulation.kind.pace
        self.world.after(dice.randint(1, 2 * pause_ms), self.strike_on)

    def heal(self) -> None:
        """It is over: everything works, and everybody runs."""
        self.is_over = True
        self.make_peace()
        for member in self.members.values():
            member.fuse = 0
            member.is_failing = member.is_doomed = False
            member.trap = None
            member.sync_ms = min(member.sync_ms, 30)
            member.resume()
            if not member.is_running:
                member.start()

    def make_peace(self) -> None:
        """All ways are open, and as quick as they were."""
        longest_ms = self.network.longest_ms
        self.network.heal()
        if self.world.disturbed_ms == NEVER_MS:
            self.world.disturbed_ms = self.world.now_ms + longest_ms + MOST_PAUSED_MS

    # --- whom

    def _any(self) -> Member:
        return self.members[self.world.dice.choice(list(self.members))]

    def _leader(self) -> Member | None:
        leaders = [member for member in self.members.values() if member.is_listening]
        return self.world.dice.choice(leaders) if leaders else None

    def _is_silent(self) -> bool:
        return self.world.dice.random() < 0.3

    def later(self, delay_ms: int, deed: Callable[..., object], *args: Member) -> None:
        def strike() -> None:
            if not self.is_over:
                deed(*args)

        self.world.after(delay_ms, strike)

    # --- processes

    def crash(self) -> bool:
        member = self._any()
        was_running = member.is_running
        member.crash(silently=self._is_silent())
        return was_running

    def crash_in_a_ready(self) -> bool:
        member = self._any()
        member.fuse = self.world.dice.randint(1, 30)
        return True

    def crash_the_leader(self) -> bool:
        leader = self._leader()
        if leader is None:
            return False
        if self.world.dice.random() < 0.5:
            leader.crash(silently=self._is_silent())
        else:
            leader.fuse = self.world.dice.randint(1, 30)
        return True

    def crash_all(self) -> bool:
        for member in self.members.values():
            member.crash()
        # Those that come back at once find each other's last words still on the way.
        for member in self.members.values():
            if self.world.dice.random() < 0.7:
                member.start()
        return True

    def doom(self) -> bool:
        """A change of reign in which some end while their disks write it, and then its leader."""
        dice = self.world.dice
        doomed = [member for member in self.members.values() if dice.random() < 0.5]
        for member in doomed:
            member.is_doomed = True
            member.sync_ms = dice.choice((member.sync_ms, 50, 200))
        leader = self._leader()
        if leader is not None and dice.random() < 0.7:
            leader.crash(silently=self._is_silent())
        if dice.random() < 0.5:
            self.later(dice.randint(50, 800), self.crash_the_leader)
        return bool(doomed)

    def coup(self) -> bool:
        """See `coup.py`."""
        if len(self.simulation.ensemble.quorum.voters) == 1:
            return False
        Coup(self).begin()
        return True

    def start(self) -> bool:
        down = [member for member in self.members.values() if not member.is_running]
        if not down:
            return False
        self.world.dice.choice(down).start()
        return True

    def pause(self) -> bool:
        member = self._any()
        if member.is_paused:
            return False
        member.pause()
        duration = self.world.dice.choice((20, 200, 1_000, MOST_PAUSED_MS))
        self.world.disturbed_ms = max(self.world.disturbed_ms, self.world.now_ms + duration)
        self.world.tell(f"{member.sid} STANDS STILL for {duration} ms")
        self.world.after(duration, member.resume)
        return True

    # --- the network

    def cut_two_ways(self) -> bool:
        some = [sid for sid in self.members if self.world.dice.random() < 0.4]
        others = [sid for sid in self.members if sid not in some]
        self.world.tell(f"CUT between {some} and {others}")
        for one in some:
            for other in others:
                self.network.cut(one, other)
                self.network.cut(other, one)
        return bool(some and others)

    def cut_one_way(self) -> bool:
        one, other = self._any(), self._any()
        self.world.tell(f"CUT from {one.sid} to {other.sid}")
        if one is not other:
            self.network.cut(one.sid, other.sid)
        return one is not other

    def isolate_the_leader(self) -> bool:
        leader = self._leader()
        if leader is None:
            return False
        outward, inward = self.world.dice.choice(((True, True), (True, False), (False, True)))
        self.cut_around(leader, outward=outward, inward=inward)
        return True

    def strand_the_leader(self) -> bool:
        """The leader alone gets the last writes, crashes, and comes back into a reign that has none of its own yet."""
        leader = self._leader()
        if leader is None or not leader.is_serving:
            return False
        dice = self.world.dice
        self.simulation.hush_until_ms = self.world.now_ms + 2_500
        self.cut_around(leader, outward=True, inward=dice.random() < 0.5)
        self.simulation.kind.push(leader, dice.randint(1, 5))
        crash_ms = dice.randint(20, 300)
        self.later(crash_ms, self._crash_and_heal, leader)
        self.later(crash_ms + dice.randint(100, 1_500), self._start, leader)
        return True

    def _crash_and_heal(self, leader: Member) -> None:
        leader.crash(why="stranded")
        self.make_peace()

    def _start(self, member: Member) -> None:
        if not member.is_running:
            member.start()

    def cut_around(self, member: Member, *, outward: bool, inward: bool) -> None:
        self.world.tell(f"CUT around {member.sid}")
        for sid in self.members:
            if sid != member.sid:
                if outward:
                    self.network.cut(member.sid, sid)
                if inward:
                    self.network.cut(sid, member.sid)

    def heal_the_network(self) -> bool:
        had_any = bool(self.network.cuts or self.network.slowness)
        if had_any:
            self.world.tell("the network is HEALED")
            self.make_peace()
        return had_any

    def break_a_link(self) -> bool:
        links = self.network.links()
        if not links:
            return False
        end = self.world.dice.choice(links)
        self.world.tell(f"the link {end.owner.sid} - {end.far.owner.sid} BREAKS")
        self.network.break_link(end)
        return True

    def break_all_links(self) -> bool:
        links = self.network.links()
        self.world.tell("ALL LINKS BREAK")
        for end in links:
            self.network.break_link(end)
        return bool(links)

    def break_a_wire(self) -> bool:
        one, other = self._any(), self._any()
        self.network.break_wire(one.sid, other.sid)
        return one is not other

    def slow_a_way(self) -> bool:
        one, other = self._any(), self._any()
        self.network.slowness[one.sid, other.sid] = self.world.dice.choice((5, 20, 60))
        self.world.disturbed_ms = NEVER_MS
        return one is not other

    # --- disks and clocks

    def slow_a_disk(self) -> bool:
        self._any().sync_ms = self.world.dice.choice((0, 1, 20, 100, 400))
        return True

    def fail_a_disk(self) -> bool:
        member = self._any()
        member.is_failing = member.is_running
        return member.is_running

    def jump_a_wall_clock(self) -> bool:
        self._any().wall_offset_ms += self.world.dice.choice((-3_600_000, -500, 700, 86_400_000))
        return True

    def lose_a_disk(self) -> bool:
        member = self._any()
        if not self.may_lose(member):
            return False
        member.crash(why="its disk is lost")
        member.disk = Disk()
        self.simulation.judges.forgotten(member.sid)
        return True

    def restore_a_backup(self) -> bool:
        """Once take it, once put it back."""
        member = self._any()
        backup = self._backups.pop(member.sid, None)
        if backup is None:
            self._backups[member.sid] = member.disk.copy()
            return False
        if not self.may_lose(member):
            return False
        member.crash(why="its disk is replaced by a backup")
        member.disk = backup
        self.simulation.judges.forgotten(member.sid)
        return True

    def may_lose(self, member: Member) -> bool:
        """Have enough others all that this one may have given its word for?"""
        ensemble = self.simulation.ensemble
        if not ensemble.has_voter(member.sid):
            return True
        mine = member.disk
        # One zxid, one history: who ends where I end has all that I have.
        witnesses = [
            other.sid
            for other in self.members.values()
            if other is not member
            and other.disk.last_zxid() == mine.last_zxid()
            and other.disk.accepted >= mine.accepted
            and other.disk.current >= mine.current
        ]
        rest = [sid for sid in ensemble.quorum.voters if sid not in witnesses]
        return not ensemble.quorum.has_quorum(rest)


_FAULTS = {
    "crash": Nemesis.crash,
    "crash in a Ready": Nemesis.crash_in_a_ready,
    "crash the leader": Nemesis.crash_the_leader,
    "crash all": Nemesis.crash_all,
    "doom": Nemesis.doom,
    "coup": Nemesis.coup,
    "start": Nemesis.start,
    "pause": Nemesis.pause,
    "cut two ways": Nemesis.cut_two_ways,
    "cut one way": Nemesis.cut_one_way,
    "isolate the leader": Nemesis.isolate_the_leader,
    "strand the leader": Nemesis.strand_the_leader,
    "heal": Nemesis.heal_the_network,
    "break a link": Nemesis.break_a_link,
    "break all links": Nemesis.break_all_links,
    "break a wire": Nemesis.break_a_wire,
    "slow a way": Nemesis.slow_a_way,
    "slow a disk": Nemesis.slow_a_disk,
    "fail a disk": Nemesis.fail_a_disk,
    "jump a wall clock": Nemesis.jump_a_wall_clock,
    "lose a disk": Nemesis.lose_a_disk,
    "restore a backup": Nemesis.restore_a_backup,
}
