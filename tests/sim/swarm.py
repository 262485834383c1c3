"""The swarm: what one seed's world is like. Each seed leaves some faults out and makes others frequent.

A mix in which everything happens now and then rarely goes far in any direction; a mix that draws its own odds finds
what needs a hundred broken links and no crash, or a slow disk and a fast network.
"""

from __future__ import annotations

import random

import attrs

from zkpy.zab.quorum import Hierarchical, Majority
from zkpy.zab.settings import Settings

#: Every fault, by how often it comes where it comes often.
FAULTS = {
    "crash": 4,
    "crash in a Ready": 4,
    "crash the leader": 3,
    "crash all": 2,
    "doom": 6,
    "coup": 12,
    "start": 8,
    "pause": 2,
    "cut two ways": 3,
    "cut one way": 3,
    "isolate the leader": 2,
    "strand the leader": 6,
    "heal": 8,
    "break a link": 4,
    "break all links": 1,
    "break a wire": 2,
    "slow a way": 2,
    "slow a disk": 2,
    "fail a disk": 1,
    "jump a wall clock": 2,
    "lose a disk": 1,
    "restore a backup": 1,
}


@attrs.frozen
class Swarm:
    """What the seed has drawn."""

    voters: int
    observers: int
    is_hierarchical: bool
    tick_ms: int
    init_limit: int
    sync_limit: int
    delay_ms: tuple[int, int]
    split_odds: float
    image_ms: int
    sync_ms: int
    turn_ms: int
    snap_count: int
    snap_retain: int
    commit_log_count: int
    tail: int
    #: A longer piece of the log is not read for a learner (snapshotSizeFactor).
    read_limit: int
    read_chunk: int
    force_snap: bool
    #: Between two faults, and between two of the workload's steps, on average.
    fault_ms: int
    work_ms: int
    burst: int
    #: How often clients fall silent for a while: only then a reign can begin and end without a txn.
    lull_odds: float
    duration_ms: int
    #: fault → its weight among the faults; those left out never happen.
    odds: dict[str, int]

    @classmethod
    def draw(cls, dice: random.Random, duration_ms: int) -> Swarm:
        """One world's character."""
        choice = dice.choice
        voters = choice((1, 2, 3, 3, 3, 3, 4, 5, 5, 6, 7))
        odds = {}
        for fault, weight in FAULTS.items():
            drawn = weight * choice((0, 0, 1, 1, 1, 4))
            if drawn:
                odds[fault] = drawn
        # Without these a world of faults soon stands still.
        odds.setdefault("start", 4)
        odds.setdefault("heal", 4)
        tick_ms = choice((100, 200, 400))
        return cls(
            voters=voters,
            observers=choice((0, 0, 0, 1, 1, 2)),
            is_hierarchical=voters >= 4 and dice.random() < 0.3,
            tick_ms=tick_ms,
            init_limit=choice((5, 10)),
            sync_limit=choice((2, 5)),
            delay_ms=choice(((1, 1), (0, 3), (1, 10), (1, 40), (20, 30))),
            split_odds=choice((0.0, 0.0, 0.1, 0.5)),
            image_ms=choice((0, 50, 500)),
            sync_ms=choice((0, 0, 5, 30, 100)),
            turn_ms=choice((0, 0, 2, 20)),
            snap_count=choice((3, 10, 30, 1000)),
            snap_retain=choice((3, 3, 5)),
            commit_log_count=choice((1, 4, 30, 500)),
            tail=choice((0, 2, 30, 500)),
            read_limit=choice((0, 20, 300, 300)),
            read_chunk=choice((2, 10, 100)),
            force_snap=dice.random() < 0.2,
            fault_ms=choice((30, 100, 300, 1000)),
            work_ms=choice((5, 20, 60)),
            burst=choice((1, 1, 3, 10)),
            lull_odds=choice((0.0, 0.03, 0.1, 0.3)),
            duration_ms=duration_ms,
            odds=odds,
        )

    def sids(self) -> range:
        """All members; voters first."""
        return range(1, self.voters + self.observers + 1)

    def quorum(self, dice: random.Random) -> Majority | Hierarchical:
        """Which sets of voters are enough."""
        voters = list(range(1, self.voters + 1))
        if not self.is_hierarchical:
            return Majority(voters)
        dice.shuffle(voters)
        at = dice.randint(1, len(voters) - 1)
        weights = {sid: dice.choice((0, 1, 1, 1, 2)) for sid in voters}
        # Somebody must be able to lead.
        weights[voters[0]] = 1
        return Hierarchical({1: voters[:at], 2: voters[at:]}, weights)

    def settings(self, sid: int, dice: random.Random) -> Settings:
        """A member's settings."""
        return Settings(
            sid,
            tick_ms=self.tick_ms,
            init_limit=self.init_limit,
            sync_limit=self.sync_limit,
            finalize_wait_ms=50,
            min_notification_ms=100,
            max_notification_ms=2_000,
            observer_rest_ms=dice.randint(0, 200) if sid > self.voters else 0,
            commit_log_count=self.commit_log_count,
            force_snap=self.force_snap,
        )
