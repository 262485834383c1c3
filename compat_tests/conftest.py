"""Fixtures: a fresh server of each kind, and what zkCli prints on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_tests.peers import Server, require, server
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
