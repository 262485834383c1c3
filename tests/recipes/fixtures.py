"""Fixtures of the recipes' tests. What they run against is up to the fixture `port`: a server's, on 127.0.0.1."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.recipes.proxy import Proxy

#: Far above what anything here takes.
PATIENCE_S = 60.0
#: A session timeout that nothing but a stopped client outlives, however busy the machine.
LONG_S = 20.0

_NUMBERS = itertools.count()

Connect = Callable[..., KazooClient]


@pytest.fixture
def path() -> str:
    """A path that no other test uses, and whose parent does not exist."""
    return f"/recipes-{next(_NUMBERS)}/lock"


@contextmanager
def clients_of(port: int, **options: Any) -> Iterator[Connect]:
    """Makes connected clients with these options: connect(timeout_s=…, port=…); they are stopped at the end."""
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # connections are lost on purpose
    clients: list[KazooClient] = []

    def connected(timeout_s: float = LONG_S, port: int = port) -> KazooClient:
        client = KazooClient(f"127.0.0.1:{port}", timeout=timeout_s, **options)
        clients.append(client)
        client.start(timeout=PATIENCE_S)
        return client

    yield connected
    for client in clients:
        client.stop()
        client.close()


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    """Makes connected clients (see `clients_of`)."""
    with clients_of(port) as connected:
        yield connected


@pytest.fixture
def client(connect: Connect) -> KazooClient:
    """A connected client."""
    return connect()


@pytest.fixture
def proxy(port: int) -> Iterator[Proxy]:
    """A link to the server that can be cut."""
    with Proxy(port) as link:
        yield link


def until(holds: Callable[[], object], what: str = "") -> None:
    """Wait until `holds()` is true; fails after PATIENCE_S."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, what or "it never came to hold"
        time.sleep(0.01)


def expire(client: KazooClient, port: int) -> None:
    """End the client's session at the server, as its expiry would; the client learns of it by and by."""
    session_id, password = client.client_id
    thief = KazooClient(f"127.0.0.1:{port}", client_id=(session_id, password), timeout=LONG_S)
    thief.start(timeout=PATIENCE_S)
    thief.stop()
    thief.close()
