"""The recipes' tests once more, against Apache's server."""

from collections.abc import Callable, Iterator

import pytest

from compat_tests.peers import Server, require
from tests.recipes.fixtures import client, connect, path, proxy

__all__ = ["client", "connect", "path", "proxy"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of Apache's with short ticks, so that short sessions are granted."""
    require("apache")
    data_dir = tmp_path_factory.mktemp("recipes") / "data"
    with Server("apache", data_dir, config={"tickTime": "200", "maxSessionTimeout": "40000"}) as server:
        yield server


@pytest.fixture
def port(server: Server) -> int:
    """Where it listens."""
    return server.port


@pytest.fixture
def restart(server: Server) -> Callable[[], None]:
    """Kills the server and starts it again."""

    def again() -> None:
        server.kill()
        server.start()

    return again
