"""The coup: a change of reign that ends where it hurts, in the moment in which members make it durable.

    a tail     some voters fall behind, or the leader alone has the last writes ─→ everybody ends
    a reign    that leader comes back, with just so many others that they are a quorum, those who lack the tail first
    a fall     as soon as one of them writes what NEWLEADER asks of it, or a little later, all of these end together
    the rest   those who were not there begin, with as few of the fallen as they need; the old leader comes last

Chance alone meets that moment once in a thousand seeds, and it is the one in which most of the slips that servers like
this have made show: what was promised, acknowledged or committed before the disk had it is gone now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.member import Member

if TYPE_CHECKING:
    from tests.sim.nemesis import Nemesis

#: How long a reign is waited for.
PATIENCE_MS = 2_500
#: How late what the leader says may come to some, so that they do not all make it durable at once.
LAG_MS = 100
#: What a disk takes at most to make a reign durable.
SLOW_MS = 300
#: How long clients are silent.
HUSH_MS = 5_000
#: How long the rest is left alone.
ELECTION_MS = 600


class Coup:
    """One coup; nobody else strikes while it lasts."""

    def __init__(self, nemesis: Nemesis) -> None:
        self._nemesis = nemesis
        self._world = nemesis.world
        self._quorum = nemesis.simulation.ensemble.quorum
        self._members = nemesis.members
        self._leader: Member
        #: Voters in the order in which they are let in.
        self._voters: list[Member] = []
        self._reign: list[Member] = []
        self._is_sprung = False

    def begin(self) -> None:
        """Where nobody serves, first let somebody."""
        if any(member.is_listening and member.is_serving for member in self._members.values()):
            self._begin()
            return
        self._nemesis.make_peace()
        for member in self._members.values():
            member.resume()
            self._start(member)
        self._nemesis.later(self._world.dice.randint(500, 1_500), self._begin)

    def _begin(self) -> None:
        """Give the leader a tail."""
        dice = self._world.dice
        nemesis = self._nemesis
        leaders = [member for member in self._members.values() if member.is_listening and member.is_serving]
        if not leaders:
            nemesis.strike_on()
            return
        self._leader = leader = dice.choice(leaders)
        voters = [self._members[sid] for sid in sorted(self._quorum.voters) if sid != leader.sid]
        dice.shuffle(voters)
        self._world.tell(f"a COUP against {leader.sid}")
        if dice.random() < 0.7:
            # A reign without a txn of its own cuts what the old leader alone has.
            nemesis.simulation.hush_until_ms = self._world.now_ms + HUSH_MS
        if dice.random() < 0.5:
            behind: list[Member] = []
            for member in voters:
                rest = [other.sid for other in voters if other not in behind and other is not member]
                if self._quorum.has_quorum([leader.sid, *rest]):
                    behind.append(member)
            for member in behind:
                member.crash(why="left behind")
            voters.sort(key=lambda member: member not in behind)
        else:
            nemesis.cut_around(leader, outward=True, inward=dice.random() < 0.5)
        self._voters = voters
        nemesis.simulation.kind.push(leader, dice.randint(1, 5))
        nemesis.later(dice.randint(20, 300), self._restore_the_leader)

    def _restore_the_leader(self) -> None:
        """Everybody ends, and the leader comes back with a bare quorum."""
        dice = self._world.dice
        for member in self._members.values():
            member.crash()
        self._nemesis.make_peace()
        self._reign = [self._leader]
        for member in self._members.values():
            if member.sid not in self._quorum.voters and dice.random() < 0.7:
                self._reign.append(member)
        # Once in a while observers are all that the leader gets: with them it must not come to anything.
        is_lonely = len(self._reign) > 1 and dice.random() < 0.3
        for member in self._voters:
            if is_lonely or self._has_quorum(self._reign):
                break
            self._reign.append(member)
        if dice.random() < 0.2:
            # Or nobody: then all that is left of it is the tail.
            self._reign = [self._leader]
            self._let_the_rest_in()
            return
        for member in self._reign:
            if dice.random() < 0.5:
                self._nemesis.network.slow(self._leader.sid, member.sid, dice.choice((LAG_MS // 4, LAG_MS)))
            member.sync_ms = dice.choice((0, member.sync_ms))
            member.start()
            member.trap = self._spring if member is not self._leader else None
        self._nemesis.later(PATIENCE_MS, self._spring, self._leader)

    def _spring(self, member: Member) -> None:
        """This one makes the reign durable (or nobody does): that is the moment, and a slow one for its disk."""
        dice = self._world.dice
        if member is not self._leader and dice.random() < 0.6:
            member.sync_ms = SLOW_MS
        if self._is_sprung:
            return
        self._is_sprung = True
        if dice.random() < 0.3:
            member.fuse = dice.randint(1, 4)
        soon_ms = dice.choice((0, dice.randint(0, 10), dice.randint(0, 60), dice.randint(0, 300)))
        for one in self._reign:
            self._nemesis.later(soon_ms + dice.choice((0, 0, dice.randint(0, 20))), self._end, one)
        self._nemesis.later(soon_ms + 20, self._let_the_rest_in)

    def _end(self, member: Member) -> None:
        member.crash(why="a coup")

    def _let_the_rest_in(self) -> None:
        dice = self._world.dice
        self._nemesis.make_peace()
        rest = [member for member in self._members.values() if member not in self._reign]
        fallen = [member for member in self._reign if member is not self._leader]
        dice.shuffle(fallen)
        while fallen and not self._has_quorum(rest):
            rest.append(fallen.pop())
        for member in rest:
            self._start(member)
        last_ms = dice.randint(100, 1_500)
        for member in fallen:
            self._nemesis.later(dice.randint(100, last_ms), self._start, member)
        self._nemesis.later(last_ms, self._start, self._leader)
        self._nemesis.later(dice.choice((0, last_ms)) + ELECTION_MS, self._nemesis.strike_on)

    def _start(self, member: Member) -> None:
        if not member.is_running:
            member.start()

    def _has_quorum(self, members: list[Member]) -> bool:
        voters = [member.sid for member in members if member.sid in self._quorum.voters]
        return self._quorum.has_quorum(voters)
