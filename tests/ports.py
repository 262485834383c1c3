"""Ports for servers that tests start, now or later, once or again.

They are below those from which connections go out: the kernel gives those to any client that asks while nobody listens,
and to a client that dials such a port before its server listens it may give that very one, so that it talks to itself.
"""

import random
import socket

#: Where they are looked for. Those below are for whoever picks his own.
PORTS = range(12_000, 32_000)
_GIVEN: set[int] = set()


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on, each given to nobody else in this process."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(PORTS)
        if port not in _GIVEN and is_free(port):
            _GIVEN.add(port)
            ports.append(port)
    return ports


def is_free(port: int) -> bool:
    """Can a server listen there now?"""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
