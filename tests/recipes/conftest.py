"""The recipes against our server; compat_tests/recipes runs the same tests against Apache's."""

from collections.abc import Iterator

import pytest

from tests.recipes.fixtures import client, connect, path, proxy
from tests.system.processes import ServerProcess

__all__ = ["client", "connect", "path", "proxy"]


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with short ticks, so that short sessions are granted."""
    with ServerProcess(
        tmp_path_factory.mktemp("recipes") / "data", tickTime="200", maxSessionTimeout="40000"
    ) as server:
        yield server.port
