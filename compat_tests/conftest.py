"""Fixtures: a fresh server of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests.peers import Server, require, server


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
