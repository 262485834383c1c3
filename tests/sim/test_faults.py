"""The judges can speak: each planted fault is found, by running it, and the same seeds are silent without it."""

import pytest

from tests.sim.faults import FAULTS, OF_THE_SERVICE, planted
from tests.sim.runner import Outcome, play
from zkpy.zab.peer import Peer

#: Where to begin to look, so that it takes a moment and not a thousand seeds: just a place. Whatever a change of the
#: world makes of these seeds, the window is long enough, or the place must be looked for anew with
#: `scripts/simulate --fault NAME --first 0 --count 2000`.
PLACES = {
    "ack before sync": 40,
    "commit without quorum": 0,
    "serve without quorum": 300,
    "observers vote": 205,
    "reuse an epoch": 0,
    "promise before disk": 0,
    "ack NEWLEADER before disk": 40,
    "epoch before history": 1790,
    "forget TRUNC": 10,
    "apply twice": 0,
    "label a snapshot too new": 50,
    "shortest history leads": 60,
    "leave a txn out": 0,
    "drop a watch": 0,
    "forget touches": 165,
}
WINDOW = 40


def kind_of(fault: str) -> str:
    return "replicas" if fault in OF_THE_SERVICE else "peers"


def find(fault: str) -> Outcome | None:
    """The first seed of the window that finds it."""
    for seed in range(PLACES[fault], PLACES[fault] + WINDOW):
        outcome = play(seed, kind_of(fault), fault=fault)
        if not outcome.is_good:
            return outcome
    return None


def test_every_fault_is_looked_for() -> None:
    assert set(PLACES) == set(FAULTS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", PLACES)
def test_a_planted_fault_is_found(fault: str) -> None:
    outcome = find(fault)
    assert outcome is not None, f"{fault}: not found in {WINDOW} seeds from {PLACES[fault]} on"
    clean = play(outcome.seed, kind_of(fault))
    assert clean.is_good, f"seed {outcome.seed} finds {clean.text} without any fault"


def test_a_fault_is_out_again_when_its_seed_is_over() -> None:
    hold = Peer.hold
    with planted("ack NEWLEADER before disk"):
        assert Peer.hold is not hold
    assert Peer.hold is hold
