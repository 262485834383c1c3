"""pytest's fixtures; installed with zkpy, so a test only has to name them.

zkpy_server      a `Server` of the test's own          zk      a kazoo client that is connected to it
zkpy_ensemble    an `Ensemble` of three
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

# What a session without these fixtures need not load.
if TYPE_CHECKING:
    from zkpy.testing.ensemble import Ensemble
    from zkpy.testing.server import Server


@pytest.fixture
def zkpy_server() -> Iterator["Server"]:
    """A ZooKeeper server in this process, empty, with controls."""
    from zkpy.testing.server import Server

    with Server() as server:
        yield server


@pytest.fixture
def zkpy_ensemble() -> Iterator["Ensemble"]:
    """Three ZooKeeper servers in this process that are one ensemble, empty, with controls."""
    from zkpy.testing.ensemble import Ensemble

    with Ensemble(3) as ensemble:
        yield ensemble


@pytest.fixture
def zk(zkpy_server: "Server") -> Iterator[Any]:
    """A kazoo client with a session at `zkpy_server`."""
    from kazoo.client import KazooClient

    client = KazooClient(zkpy_server.hosts)
    try:
        client.start()
        yield client
    finally:
        zkpy_server.resume()
        client.stop()
        client.close()
