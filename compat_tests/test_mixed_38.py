"""Ensembles of zkpy's servers and Apache's of 3.8, as `test_mixed_ensemble` has them with 3.9: each leads the other and
brings it up in each way; each observes what the other decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_tests.datadirs.story import write_chapter
from compat_tests.ensembles.alike import check_alike
from compat_tests.ensembles.ensemble import Ensemble
from compat_tests.peers import require
from compat_tests.test_mixed_ensemble import bring_up, bring_up_by_diff_and_snap, lead_alone, write

pytestmark = pytest.mark.slow

PAIRS = [("apache38", "zkpy"), ("zkpy", "apache38")]


@pytest.fixture(autouse=True)
def _apache() -> None:
    require("apache38")


@pytest.mark.parametrize(("leader", "learner"), PAIRS)
def test_a_follower_is_brought_up_in_each_way(leader: str, learner: str, tmp_path: Path) -> None:
    """1 is the learner. It leads for a while, so that it has something to forget."""
    with Ensemble(tmp_path, {1: learner, 2: leader, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        for sid in (1, 3):
            write_chapter(ensemble[sid], f"/chapter{sid}", address="10.0.0.1")
        check_alike(ensemble)

        bring_up_by_diff_and_snap(ensemble, 1, writer=2)

        lead_alone(ensemble, "/tail")
        ensemble.launch(2, 3)
        assert "/tail" not in bring_up(ensemble, 1, "trunc")


@pytest.mark.parametrize(("voter", "observer"), PAIRS)
def test_an_observer_serves_what_the_others_decide(voter: str, observer: str, tmp_path: Path) -> None:
    with Ensemble(tmp_path, {1: voter, 2: voter, 3: observer}, observers=[3]) as ensemble:
        ensemble.start(leader=2)
        write_chapter(ensemble[3], "/through_observer", address="10.0.0.1")
        write(ensemble, 1, "/through_follower")
        check_alike(ensemble)
        bring_up_by_diff_and_snap(ensemble, 3, writer=1)
