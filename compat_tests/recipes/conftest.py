"""The recipes' tests once more, against Apache's server."""

from collections.abc import Callable, Iterator

import pytest

from compat_tests.peers import Server, require
from tests.recipes.fixtures import client, connect, path, proxy
from tests.recipes.proxy import Proxy

__all__ = ["client", "connect", "path", "proxy"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of Apache's with short ticks, so that short sessions are granted."""
    require("apache")
    data_dir = tmp_path_factory.mktemp("recipes") / "data"
    with Server("apache", data_dir, config={"tickTime": "200", "maxSessionTimeout": "40000"}) as server:
        yield server


@pytest.fixture
def gate(server: Server) -> Iterator[Proxy]:
    """A way to the server that is shut while it starts: to one that knocks then, Apache's may say nothing for long."""
    with Proxy(server.port) as link:
        yield link


@pytest.fixture
def port(request: pytest.FixtureRequest, server: Server) -> int:
    """Where clients find it."""
    if "restart" not in request.fixturenames:
        return server.port
    link: Proxy = request.getfixturevalue("gate")
    return link.port


@pytest.fixture
def restart(server: Server, gate: Proxy) -> Callable[[], None]:
    """Kills the server and starts it again."""

    def again() -> None:
        gate.cut()
        server.kill()
        server.start()
        gate.mend()

    return again
