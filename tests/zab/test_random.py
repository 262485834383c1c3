"""Random worlds: crashes that lose what was not synced, partitions, restarts, slow disks; each from one seed.

While faults go on, safety: one leader an epoch, one txn a zxid, one order, no ACK of what is not on disk (the judges of
`network.py` look at every step). Then all is healed, and liveness: the servers converge, with all that was delivered.
"""

import random

import pytest

from tests.zab.network import Disk, World
from zkpy.zab.peer import Peer
from zkpy.zab.quorum import Hierarchical

STEPS = 60


def play(seed: int, peer_class: type[Peer] = Peer, disk_class: type[Disk] = Disk) -> World:
    """One world, whose size, speed and mix of faults the seed draws."""
    dice = random.Random(seed)
    voters = dice.choice((1, 2, 3, 3, 3, 5, 5))
    groups = Hierarchical({1: [1, 2, 3], 2: [4, 5]}, {3: 0, 4: 2}) if voters == 5 and dice.random() < 0.3 else None
    world = World(
        voters,
        observers=dice.choice((0, 0, 1, 2)),
        seed=seed,
        jitter_ms=dice.choice((0, 3, 20, 80)),
        sync_ms=dice.choice((1, 1, 30)),
        commit_log_count=dice.choice((1, 4, 500)),
        tail=dice.choice((0, 3, 500)),
        chunk=dice.choice((2, 5, 100)),
        quorum=groups,
        peer_class=peer_class,
        disk_class=disk_class,
    )
    odds = {name: dice.choice((0, 1, 1, 4)) for name in ("crash", "cut", "heal", "start", "breaks")}
    odds["propose"] = 8
    for server in world.servers.values():
        if dice.random() < 0.8:
            server.start()
    names = sorted(odds)
    for _ in range(STEPS):
        world.run(dice.choice((0, 1, 5, 50, 400, 1500)))
        fault = dice.choices(names, [odds[name] for name in names])[0]
        server = world.servers[dice.choice(sorted(world.servers))]
        if fault == "propose":
            for leader in world.servers.values():
                if leader.peer is not None and leader.is_serving and leader.role == 2:
                    leader.propose(dice.choice((1, 1, 2, 7)))
        elif fault == "crash" and server.peer is not None:
            server.crash()
        elif fault == "start" and server.peer is None:
            server.start()
        elif fault == "cut":
            some = [sid for sid in world.servers if dice.random() < 0.4]
            world.cut(some, [sid for sid in world.servers if sid not in some], silently=dice.random() < 0.5)
        elif fault == "heal":
            world.heal()
        elif fault == "breaks":
            for link in list(server.links.values()):
                world.break_link(link)
    world.heal()
    for server in world.servers.values():
        if server.peer is None:
            server.start()
    world.run_until(world.has_converged, 200_000)
    leader = world.leader()
    assert leader is not None
    leader.propose(2)
    world.run(1000)
    world.run_until(world.has_converged)
    world.check_trees()
    return world


@pytest.mark.parametrize("seed", range(40))
def test_nothing_delivered_is_lost_or_comes_in_another_order(seed: int) -> None:
    play(seed)


def test_same_seed_gives_the_same_world() -> None:
    assert play(7).delivered == play(7).delivered
