"""A whole ensemble from one seed: its members, what is done to them, and what must come of it in the end.

    faults and work, for so long ─→ heal everything ─→ it must converge, and serve, within so long

`Simulation` knows how to run; what a member decides with, and what clients do, comes from a `Kind` (opaque or whole).
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from tests.sim.disk import Image
from tests.sim.judges import Judges
from tests.sim.member import Core, Member
from tests.sim.nemesis import Nemesis
from tests.sim.network import Network
from tests.sim.swarm import Swarm
from tests.sim.world import Violation, World
from zkpy.zab.quorum import Ensemble
from zkpy.zab.ready import Entry

#: How long faults go on.
DURATION_MS = 8_000
#: How many of the slowest steps there are (elections, discovery, synchronization) a healed ensemble may need one after
#: the other, each taking initLimit at most.
PATIENCE = 12


class Kind(Protocol):
    """What kind of members these are."""

    #: So many times as long as the swarm says is the time between two faults.
    pace: int

    def make_judges(self, simulation: Simulation) -> Judges: ...
    def make_core(self, member: Member, image: Image, entries: list[Entry]) -> Core: ...
    def work(self) -> None: ...
    def push(self, member: Member, count: int) -> None: ...
    def ended(self, member: Member) -> None: ...
    def drain(self) -> None: ...


class Simulation:
    """One seed."""

    def __init__(
        self, seed: int, kind: type[Kind], *, duration_ms: int = DURATION_MS, is_telling: bool = False
    ) -> None:
        self.seed = seed
        self.world = world = World(seed, is_telling=is_telling)
        dice = world.dice
        self.swarm = swarm = Swarm.draw(dice, duration_ms)
        #: How often what happened: packet types that arrived, and what is rare.
        self.marks: Counter[int | str] = Counter()
        #: Until then clients are silent.
        self.hush_until_ms = 0
        self.snap_count = swarm.snap_count
        self.snap_retain = swarm.snap_retain
        self.read_limit = swarm.read_limit
        self.read_chunk = swarm.read_chunk
        self.network = Network(world, delay_ms=swarm.delay_ms, split_odds=swarm.split_odds, image_ms=swarm.image_ms)
        self.ensemble = Ensemble(
            swarm.quorum(dice), frozenset(range(swarm.voters + 1, len(swarm.sids()) + 1)), b"version=0"
        )
        self.kind = kind(self)
        self.judges = self.kind.make_judges(self)
        self.members = {sid: Member(self, sid) for sid in swarm.sids()}
        self.network.members = self.members
        self.settings = {sid: swarm.settings(sid, dice) for sid in self.members}
        for member in self.members.values():
            member.sync_ms = swarm.sync_ms
            member.turn_ms = swarm.turn_ms
        self.nemesis = Nemesis(self)

    def make_core(self, member: Member, image: Image, entries: list[Entry]) -> Core:
        """What a member that starts decides with."""
        return self.kind.make_core(member, image, entries)

    def ended(self, member: Member) -> None:
        """A member's process is gone."""
        self.kind.ended(member)

    # --- the run

    def play(self) -> None:
        """All of it; raises Violation."""
        world = self.world
        for member in self.members.values():
            if world.dice.random() < 0.9:
                member.start()
        self._work_on()
        self.nemesis.strike_on()
        world.run(world.now_ms + self.swarm.duration_ms)
        self.nemesis.heal()
        world.tell("--- ALL IS HEALED ---")
        self._await_convergence("after all faults")
        self.kind.drain()
        self._await_convergence("after the last writes")
        self.judges.converged(list(self.members))

    def _work_on(self) -> None:
        if self.nemesis.is_over:
            return
        if self.world.now_ms >= self.hush_until_ms:
            self.kind.work()
        dice = self.world.dice
        is_lull = dice.random() < self.swarm.lull_odds
        self.world.after(dice.randint(1, 3_000 if is_lull else 2 * self.swarm.work_ms), self._work_on)

    def _await_convergence(self, when: str) -> None:
        longest = max(settings.init_ms for settings in self.settings.values())
        limit_ms = PATIENCE * (longest + max(settings.max_notification_ms for settings in self.settings.values()))
        if not self.world.run_until(self.has_converged, limit_ms):
            state = "; ".join(member.describe() for member in self.members.values())
            raise Violation("Liveness", f"no convergence {when} in {limit_ms} ms: {state}")

    def has_converged(self) -> bool:
        """Do all members serve in one reign, with the same history, all on disk?"""
        members = self.members.values()
        if not all(member.is_serving for member in members):
            return False
        one = next(iter(members))
        return (
            len({(member.standing.epoch, member.standing.leader) for member in members}) == 1
            and len({member.core.last_zxid() for member in members if member.core is not None}) == 1
            and all(not member.disk.pending for member in members)
            and one.core is not None
            and all(member.disk.last_zxid() == one.core.last_zxid() for member in members)
        )
