"""ZooKeeper for other people's tests: a server or an ensemble in this process, with controls that no real one offers.

    from zkpy.testing import Server

    with Server() as server:
        client = KazooClient(server.hosts)
        ...
        server.expire(client)

Read in this order:

    server      one server, a context manager           embedded   the thread that a server or member runs in
    ensemble    several members, a context manager      controls   sessions, connections and clocks as tests want them
    plugin      pytest's fixtures                       ports      ports that stay ours between two starts
"""

from zkpy.testing.embedded import Embedded
from zkpy.testing.ensemble import Ensemble
from zkpy.testing.errors import ControlError
from zkpy.testing.server import Server

__all__ = ["ControlError", "Embedded", "Ensemble", "Server"]
