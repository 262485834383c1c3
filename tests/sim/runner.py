"""Seeds in, outcomes out: one, or thousands on all cores."""

from __future__ import annotations

import subprocess
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import attrs

from tests.sim.ensemble import Kind, Simulation
from tests.sim.faults import planted
from tests.sim.opaque import OpaqueKind
from tests.sim.whole import WholeKind
from tests.sim.world import Violation
from zkpy.proto.packets import NAMES

#: What members can be made of.
KINDS: dict[str, type[Kind]] = {"peers": OpaqueKind, "replicas": WholeKind}

#: Seeds that a process plays before it reports.
CHUNK = 10


@attrs.frozen
class Outcome:
    """What came of one seed. `law` is empty if nothing was broken; a machine's own exception is a law too."""

    seed: int
    law: str
    text: str
    #: How much happened.
    events: int
    txns: int
    epochs: int
    strikes: dict[str, int]
    #: What was reached, and how often: packets by name, and rare moments.
    marks: dict[str, int]
    story: list[str]
    where: str = ""

    @property
    def is_good(self) -> bool:
        """Was no law broken?"""
        return not self.law


def play(seed: int, kind: str = "peers", *, fault: str = "", is_telling: bool = False) -> Outcome:
    """One seed, with a planted fault if it is named."""
    simulation = Simulation(seed, KINDS[kind], is_telling=is_telling)
    law = text = where = ""
    try:
        with planted(fault):
            simulation.play()
    except Violation as violation:
        law, text = violation.law, str(violation)
    except Exception as error:  # a machine that fails has broken the law that it must not
        law, text = type(error).__name__, f"{type(error).__name__}: {error}"
        where = traceback.format_exc()
    judges = simulation.judges
    return Outcome(
        seed,
        law,
        text,
        simulation.world.events,
        len(judges.order),
        len(judges.leaders),
        simulation.nemesis.strikes,
        {NAMES.get(mark, str(mark)): count for mark, count in simulation.marks.items()},
        simulation.world.story,
        where,
    )


def play_many(seeds: Iterable[int], kind: str = "peers", *, fault: str = "", processes: int = 2) -> Iterator[Outcome]:
    """Seeds on several cores; outcomes in the order of the seeds."""
    seeds = list(seeds)
    chunks = [(seeds[at : at + CHUNK], kind, fault) for at in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(processes) as pool:
        for outcomes in pool.map(_play_chunk, chunks):
            yield from outcomes


def _play_chunk(chunk: tuple[list[int], str, str]) -> list[Outcome]:
    seeds, kind, fault = chunk
    return [play(seed, kind, fault=fault) for seed in seeds]


def commit() -> str:
    """Which version this is; a seed says nothing without it."""
    root = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def replay(outcome: Outcome, kind: str) -> str:
    """What to say of a failure."""
    return f"seed {outcome.seed} at {commit()}: {outcome.text}\nreplay: scripts/simulate --kind {kind} {outcome.seed}"
