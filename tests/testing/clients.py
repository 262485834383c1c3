"""What the tests of zkpy.testing do with kazoo clients, threads and descriptors."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

PATIENCE_S = 60.0


@contextmanager
def client_of(hosts: str, timeout_s: float = 30.0) -> Iterator[KazooClient]:
    """A connected client."""
    client = KazooClient(hosts, timeout=timeout_s)
    try:
        client.start(timeout=PATIENCE_S)
        yield client
    finally:
        client.stop()
        client.close()


def states_of(client: KazooClient) -> list[str]:
    """The states that the client goes through from now on."""
    states: list[str] = []
    client.add_listener(lambda state: states.append(str(state)))
    return states


def until(holds: Callable[[], object]) -> None:
    """Wait until `holds()` is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.005)


def threads() -> set[threading.Thread]:
    """The threads there are. Those that Trio lends out end by themselves, ten seconds after their last work."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}


def descriptors() -> set[str]:
    """The file descriptors that are open, each with what it is open on."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            pass  # of this very look
    return found
