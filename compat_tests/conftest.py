"""Fixtures: a fresh server of each kind, what zkCli prints on both, and the runs of kazoo's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_tests.kazoo_suite import RUNS, Suite, pick_offsets
from compat_tests.peers import Server, find_peer, require, server
from compat_tests.zkcli.play import play, side_by_side
from compat_tests.zkcli.script import Script
from compat_tests.zkcli.transcript import Transcript


@pytest.fixture
def apache_server(tmp_path: Path) -> Iterator[Server]:
    """Apache's server on an empty data directory."""
    require("apache")
    with server("apache", tmp_path / "apache") as running:
        yield running


@pytest.fixture
def zkpy_server(tmp_path: Path) -> Iterator[Server]:
    """This checkout's server on an empty data directory."""
    with server("zkpy", tmp_path / "zkpy") as running:
        yield running


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Script], list[Transcript]]:
    """Plays a script with zkCli on Apache's server and on zkpy, once in all tests."""
    require("apache")
    directory = tmp_path_factory.mktemp("zkcli")
    kept: dict[str, list[Transcript]] = {}

    def both(script: Script) -> list[Transcript]:
        if script.name not in kept:
            kept[script.name] = side_by_side(lambda kind: play(kind, script, directory))
        return kept[script.name]

    return both


@pytest.fixture(scope="session")
def kazoo_suites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Suite]]:
    """All runs of kazoo's own tests, under way; none where the peers for them are missing."""
    directory = tmp_path_factory.mktemp("kazoo")
    suites: dict[str, Suite] = {}
    try:
        if find_peer("kazoo") is not None and find_peer("apache") is not None:
            offsets = pick_offsets(len(RUNS))
            for (name, (kind, members)), offset in zip(RUNS.items(), offsets, strict=True):
                suites[name] = Suite(kind, members, directory / name.replace(" ", "-"), offset)
        yield suites
    finally:
        for suite in suites.values():
            suite.kill()


def waits_for_kazoo(item: pytest.Item) -> bool:
    """Does this test need the runs of kazoo's own tests?"""
    return "kazoo_suites" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever waits for kazoo's tests comes last: they go on for minutes beside the others."""
    items.sort(key=waits_for_kazoo)


@pytest.fixture(scope="session", autouse=True)
def _under_way(request: pytest.FixtureRequest) -> None:
    """The first compat test starts the runs of kazoo's own tests, if anybody will ask for them."""
    if any(waits_for_kazoo(item) for item in request.session.items):
        request.getfixturevalue("kazoo_suites")
