"""The judges can speak: each planted fault is found, by running it, and the same seed is silent without it.

Any change of the protocol or of the dice makes other worlds of the same seeds. So no seed is known beforehand: they are
played from the first one on, and each fault is found in so many of them that it takes a moment.
"""

import pytest

from tests.sim.faults import FAULTS, OF_LOCKS, OF_THE_SERVICE, planted
from tests.sim.runner import Outcome, play
from zkpy.zab.peer import Peer

#: In so many seeds every fault must be found.
SEEDS = 2_000


def kind_of(fault: str) -> str:
    return "replicas" if fault in OF_THE_SERVICE else "peers"


def find(fault: str) -> Outcome | None:
    """The first seed that finds it."""
    for seed in range(SEEDS):
        outcome = play(seed, kind_of(fault), fault=fault)
        if not outcome.is_good:
            return outcome
    return None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    outcome = find(fault)
    assert outcome is not None, f"{fault}: not found in {SEEDS} seeds"
    assert fault not in OF_LOCKS or outcome.law == "Lock", f"seed {outcome.seed} finds {outcome.text}"
    clean = play(outcome.seed, kind_of(fault))
    assert clean.is_good, f"seed {outcome.seed} finds {clean.text} without any fault"


def test_a_fault_is_out_again_when_its_seed_is_over() -> None:
    hold = Peer.hold
    with planted("ack NEWLEADER before disk"):
        assert Peer.hold is not hold
    assert Peer.hold is hold
