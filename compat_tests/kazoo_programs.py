"""Fixtures of the programs with kazoo's recipes: a server of each kind in turn, and clients that live, or die."""

from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient

from compat_tests.peers import Server, require, server
from tests.recipes.fixtures import LONG_S, PATIENCE_S, Connect, clients_of
from tests.recipes.proxy import Proxy

#: A recipe that finds itself overtaken tries again, as often as it takes.
COMMAND_RETRY = {"max_tries": -1, "delay": 0.01, "max_delay": 0.1}
#: A client comes back soon after its server does, and long before its session ends.
CONNECTION_RETRY = {"max_tries": -1, "delay": 0.05, "max_delay": 0.5}


@pytest.fixture(scope="module", params=["apache", "zkpy"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Apache's server, and then ours, with ticks short enough that a session's end is soon noticed."""
    if request.param == "apache":
        require("apache")
    data_dir = tmp_path_factory.mktemp(f"recipes-{request.param}") / "data"
    with server(request.param, data_dir, config={"tickTime": "200", "maxSessionTimeout": "40000"}) as started:
        yield started


@pytest.fixture
def port(running: Server) -> int:
    return running.port


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A path that no other test uses, and whose parent does not exist."""
    return f"/{request.node.name}/recipe".replace("[", "-").replace("]", "")


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    """Makes connected clients, connect(port=…); they are stopped at the end."""
    with clients_of(port, command_retry=COMMAND_RETRY, connection_retry=CONNECTION_RETRY) as connected:
        yield connected


class Mortal:
    """Makes clients that can be cut off: `client, proxy = mortal()`."""

    def __init__(self, port: int, connect: Connect) -> None:
        self._port = port
        self._connect = connect
        self.proxies: list[Proxy] = []

    def __call__(self) -> tuple[KazooClient, Proxy]:
        proxy = Proxy(self._port)
        self.proxies.append(proxy)
        return self._connect(port=proxy.port), proxy

    def kill(self, client: KazooClient, proxy: Proxy) -> None:
        """Cut the client off and end its session; it learns of that once the proxy is mended."""
        session = client.client_id  # which it will not tell once it is cut off
        proxy.cut()
        thief = KazooClient(f"127.0.0.1:{self._port}", client_id=session, timeout=LONG_S)
        thief.start(timeout=PATIENCE_S)
        thief.stop()
        thief.close()

    def restart(self, server: Server) -> None:
        """Restart the server under all clients.

        They come back when it is ready: to one that knocks while it starts, Apache's may say nothing for long.
        """
        for proxy in self.proxies:
            proxy.cut()
        server.restart()
        for proxy in self.proxies:
            proxy.mend()


@pytest.fixture
def mortal(port: int, connect: Connect) -> Iterator[Mortal]:
    """A Mortal; its links are closed at the end."""
    maker = Mortal(port, connect)
    yield maker
    for proxy in maker.proxies:
        proxy.close()
