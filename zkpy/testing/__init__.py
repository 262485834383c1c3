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

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

# pytest imports this package in every session, for its plugin: what nobody asks for is not loaded.
if TYPE_CHECKING:
    from zkpy.testing.embedded import Embedded
    from zkpy.testing.ensemble import Ensemble
    from zkpy.testing.errors import ControlError
    from zkpy.testing.server import Server

__all__ = ["ControlError", "Embedded", "Ensemble", "Server"]

_HOMES: Final = {"ControlError": "errors", "Embedded": "embedded", "Ensemble": "ensemble", "Server": "server"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
