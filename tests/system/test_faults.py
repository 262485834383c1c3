"""Members of real ensembles killed, paused and cut off from each other, while clients write down what they see.

Whatever happened: no acknowledged write is lost, the history is linearizable, ephemerals live as long as their
sessions, and all members end with the same tree. Which blow comes when is drawn from a seed, which is printed;
FAULTS_SEED in the environment gives it again.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.ensembles import EnsembleProcesses
from tests.system.historians import Historians
from tests.system.networks import Network, NetworkUnavailable

#: Whoever is silent for 1.5 s is missed; whoever believes that he leads is alone with that for 4 s.
QUICK = {"tickTime": "250", "syncLimit": "6", "initLimit": "16", "maxSessionTimeout": "300000", "snapCount": "400"}


class Blows:
    """What can be done to an ensemble: "VERB VICTIMS". After each blow all members run again and agree.

    While it lasts, those who are not its victims go on, if they are a quorum.
    """

    def __init__(
        self, ensemble: EnsembleProcesses, historians: Historians, dice: random.Random, network: Network | None
    ) -> None:
        self.members = ensemble.members
        self.ensemble = ensemble
        self.historians = historians
        self.dice = dice
        self.network = network

    def strike(self, blow: str) -> None:
        """The blow of this name, and some time with and without it."""
        verb, _, victims = blow.partition(" ")
        leader = self.ensemble.agree()
        followers = [sid for sid in self.members if sid != leader]
        self.historians.leave_mortal(self.dice.choice(list(self.members)))
        sids = {
            "one": [self.dice.choice(followers)],
            "the leader": [leader],
            # Of five members; it has the leader in it.
            "a minority": [leader, self.dice.choice(followers)],
            "all": list(self.members),
        }[victims]
        {"kill": self._kill, "pause": self._pause}.get(verb, self._cut_off)(verb, sids)
        self.ensemble.agree()
        self.historians.go_on()

    def _kill(self, verb: str, victims: list[int]) -> None:
        """kill -9, and start them again over what they had on disk."""
        for sid in victims:
            self.members[sid].kill()
        if len(victims) <= (len(self.members) - 1) // 2:
            self.historians.go_on()
        for sid in self.dice.sample(victims, len(victims)):
            self.members[sid].start()

    def _pause(self, verb: str, victims: list[int]) -> None:
        """SIGSTOP, until all clients have gone to others, and SIGCONT: what was under way goes on, late."""
        for sid in victims:
            self.members[sid].pause()
        try:
            self.historians.go_on()
        finally:
            for sid in victims:
                self.members[sid].resume()

    def _cut_off(self, verb: str, victims: list[int]) -> None:
        """Nothing goes from these to the others (mute), or from the others to these (deafen), or neither (isolate)."""
        assert self.network is not None
        others = [sid for sid in self.members if sid not in victims]
        if verb in ("mute", "isolate"):
            self.network.lose(victims, others)
        if verb in ("deafen", "isolate"):
            self.network.lose(others, victims)
        try:
            self.historians.go_on()
        finally:
            self.network.heal()


def play(
    ensemble: EnsembleProcesses, seed: int, blows: list[str], *, is_strict: bool, network: Network | None = None
) -> None:
    """Strike in an order that the seed gives, then judge."""
    dice = random.Random(seed)
    blows = dice.sample(blows, len(blows))
    with Historians(ensemble, seed, is_strict=is_strict) as historians:
        historians.go_on()
        attacker = Blows(ensemble, historians, dice, network)
        for number, blow in enumerate(blows):
            print(f"{number + 1}. {blow}")
            attacker.strike(blow)
        print(historians.judge())


@pytest.fixture
def seed() -> int:
    """The seed of this run."""
    found = int(os.environ.get("FAULTS_SEED") or random.randrange(1 << 32))
    print(f"\nFAULTS_SEED={found}")
    return found


@pytest.fixture
def network() -> Iterator[Network]:
    """Networks for five; the test is skipped where the machine does not let us have them, and says what is missing."""
    try:
        made = Network(5).open()
    except NetworkUnavailable as missing:
        pytest.skip(f"no partitions on this machine: {missing}")
    with made:
        yield made


@pytest.mark.slow
def test_nothing_is_lost_or_out_of_order_while_members_are_killed_and_one_pauses(tmp_path: Path, seed: int) -> None:
    blows = ["kill one", "kill the leader", "kill the leader", "kill all", "pause one"]
    with EnsembleProcesses(tmp_path, **QUICK) as ensemble:
        play(ensemble, seed, blows, is_strict=False)


@pytest.mark.slow
def test_nothing_is_lost_or_out_of_order_among_five_while_two_are_killed_or_paused(tmp_path: Path, seed: int) -> None:
    blows = ["kill a minority", "kill all", "pause the leader", "pause a minority"]
    with EnsembleProcesses(tmp_path, voters=5, **QUICK) as ensemble:
        play(ensemble, seed, blows, is_strict=True)


@pytest.mark.slow
def test_nothing_is_lost_or_out_of_order_while_one_is_cut_off(tmp_path: Path, seed: int, network: Network) -> None:
    blows = [f"{verb} {victims}" for verb in ("isolate", "mute", "deafen") for victims in ("one", "the leader")]
    with EnsembleProcesses(tmp_path, network=network, **QUICK) as ensemble:
        play(ensemble, seed, blows, is_strict=True, network=network)


@pytest.mark.slow
def test_nothing_is_lost_or_out_of_order_while_two_of_five_are_cut_off(
    tmp_path: Path, seed: int, network: Network
) -> None:
    blows = ["isolate a minority", "mute a minority"]
    with EnsembleProcesses(tmp_path, voters=5, network=network, **QUICK) as ensemble:
        play(ensemble, seed, blows, is_strict=True, network=network)
