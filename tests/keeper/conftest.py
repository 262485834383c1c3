"""A world without I/O for every test, whose invariants hold when the test is over."""

from collections.abc import Iterator

import pytest

from tests.keeper.ensemble import Ensemble
from tests.keeper.harness import Client, World


@pytest.fixture
def world() -> Iterator[World]:
    """A server with default settings."""
    made = World()
    yield made
    made.check()


@pytest.fixture
def client(world: World) -> Client:
    """A client of that server with a session."""
    return world.client()


@pytest.fixture
def ensemble() -> Iterator[Ensemble]:
    """A leader and two followers with default settings."""
    made = Ensemble()
    yield made
    made.check()
