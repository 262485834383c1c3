"""Historical bugs of ZooKeeper, planted on purpose: the judges of the random worlds must find each of them.

All of them are slips in the order of disk and words, which is why Ready has an order and why the Peer itself holds back
what must wait for the disk.
"""

from collections.abc import Callable

import pytest

from tests.zab.network import Disk, World
from tests.zab.test_random import play
from zkpy.zab.history import Entry
from zkpy.zab.peer import Peer
from zkpy.zab.ready import Ready

#: So many worlds are tried at most.
SEEDS = 40


class HastyPeer(Peer):
    """NEWLEADER is acknowledged, and an epoch promised, while the disk is still at work."""

    __slots__ = ()

    def hold(self, link: int, packet: bytes) -> None:
        self.out.send.append((link, packet))


class OptimisticPeer(Peer):
    """A txn is taken for synced as soon as it is handed to the disk."""

    __slots__ = ()

    def ready(self) -> Ready:
        ready = super().ready()
        if ready.append:
            self.history.sync(ready.append[-1][0])
            self.role.synced()
        return ready


class ForgetfulPeer(Peer):
    """The epoch that is offered or promised is kept in memory only."""

    __slots__ = ()

    def accept_epoch(self, epoch: int) -> None:
        self.accepted_epoch = epoch


class EpochFirstDisk(Disk):
    """currentEpoch gets to disk before the history that it speaks of."""

    def begin(self, ready: Ready) -> None:
        super().begin(ready)
        if ready.epochs is not None:
            token, steps = self.pending[-1]
            self.pending[-1] = token, steps[-2:] + steps[:-2]


class LazyDisk(Disk):
    """Work is reported durable before it is: a crash still loses the newest of it."""

    def __init__(self) -> None:
        super().__init__()
        self._recent: list[Entry] = []

    def append(self, entry: Entry) -> None:
        super().append(entry)
        self._recent = [*self._recent, entry][-3:]

    def crash(self, keeps: int) -> None:
        super().crash(keeps)
        self.history = [entry for entry in self.history if entry not in self._recent]
        self._recent.clear()


class UncutDisk(Disk):
    """A truncation that fails is reported as done."""

    def truncate(self, zxid: int) -> None:
        pass


def crash_in_synchronization(keeps: int, disk_class: type[Disk] = Disk) -> bool:
    """A server that is brought to the history of a new reign crashes after so many steps of its disk.

    True if it was done with all of them.
    """
    world = World(3, sync_ms=50, disk_class=disk_class)
    first, second, late = world.servers.values()
    for server in world.servers.values():
        server.start()
    world.run_until(world.has_converged)
    late.propose(2)
    world.run(500)
    late.crash()
    world.run_until(lambda: second.is_serving and world.leader() is second)
    second.propose(4)
    world.run(500)
    first.crash()
    second.crash()
    first.start()
    second.start()
    world.run_until(world.has_converged)
    late.start()
    world.run_until(lambda: sum(len(steps) for _, steps in late.disk.pending) > 2)
    steps = len(late.disk.pending[0][1])
    late.crash(keeps)
    late.start()
    world.run_until(world.has_converged)
    world.check_trees()
    return keeps >= steps


def test_crash_at_any_step_of_a_synchronization_leaves_an_epoch_that_has_its_history() -> None:
    keeps = 0
    while not crash_in_synchronization(keeps):
        keeps += 1
    assert keeps == 6, "four txns and two epochs"


@pytest.mark.parametrize(
    ("plant", "finding"),
    [
        (lambda seed: play(seed, peer_class=HastyPeer), "on disk"),
        (lambda seed: play(seed, peer_class=OptimisticPeer), "an ACK of what is not on disk"),
        (lambda seed: play(seed, peer_class=ForgetfulPeer), "not accepted on disk"),
        (lambda seed: crash_in_synchronization(seed, EpochFirstDisk), "has outrun the history"),
        (lambda seed: play(seed, disk_class=LazyDisk), ""),
        (lambda seed: play(seed + 150, disk_class=UncutDisk), ""),
    ],
    ids=["hasty", "optimistic", "forgetful", "epoch first", "lazy", "uncut"],
)
def test_judges_find_a_planted_bug(plant: Callable[[int], object], finding: str) -> None:
    for seed in range(SEEDS):
        try:
            plant(seed)
        except AssertionError as error:
            found = str(error)
            break
    else:
        pytest.fail(f"nothing found in {SEEDS} worlds")
    assert finding in found
