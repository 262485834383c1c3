"""The recipes against our server; compat_tests/recipes runs the same tests against Apache's."""

from collections.abc import Callable, Iterator

import pytest

from tests.recipes.fixtures import client, connect, path, proxy
from tests.system.processes import ServerProcess

__all__ = ["client", "connect", "path", "proxy"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with short ticks, so that short sessions are granted."""
    with ServerProcess(
        tmp_path_factory.mktemp("recipes") / "data", tickTime="200", maxSessionTimeout="40000"
    ) as server:
        server.config["clientPort"] = str(server.port)  # where a restart finds its clients again
        yield server


@pytest.fixture
def port(server: ServerProcess) -> int:
    """Where it listens."""
    return server.port


@pytest.fixture
def restart(server: ServerProcess) -> Callable[[], None]:
    """Kills the server and starts it again."""

    def again() -> None:
        server.kill()
        server.start()

    return again
