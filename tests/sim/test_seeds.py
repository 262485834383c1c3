"""Whole ensembles under faults: so many seeds each time.

What a seed finds becomes a test of the floor that was wrong (tests/zab/test_promises.py is such a one): the seed itself
is another world as soon as anything changes how dice are drawn.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.runner import play, play_many, replay

ROOT = Path(__file__).resolve().parent.parent.parent

#: Seeds of each kind. Numbers that pass for good stay; a longer run is `scripts/simulate --count 10000`.
SEEDS = {"peers": 500, "replicas": 300}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", SEEDS)
def test_no_seed_breaks_a_law(kind: str) -> None:
    broken = [outcome for outcome in play_many(range(SEEDS[kind]), kind) if not outcome.is_good]
    assert not broken, "\n".join(replay(outcome, kind) for outcome in broken)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_a_seed_is_the_same_story_whatever_the_hashes_are(kind: str) -> None:
    stories = []
    for hash_seed in ("1", "2"):
        command = [sys.executable, "scripts/simulate", "12", "--kind", kind]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        stories.append(done.stdout)
    assert len(stories[0].splitlines()) > 100
    assert stories[0] == stories[1]


def test_seeds_differ() -> None:
    assert play(1, is_telling=True).story != play(2, is_telling=True).story
