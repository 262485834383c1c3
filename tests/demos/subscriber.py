"""Services that follow the feature flags, many in a process: `python -m tests.demos.subscriber HOSTS ROOT COUNT`.

Each is a client of its own with a configuration of its own. Once all follow, "ready" is printed; then, for each line on
stdin, a line with what each has heard up to that moment, as JSON: [[[number, when], …], …]. When is told on the clock
that all processes of a machine share.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable

from kazoo.client import KazooClient

from zkpy.recipes import Change, Config

#: Far above what anything here takes.
PATIENCE_S = 120.0


def hearer(heard: list[tuple[int, float]]) -> Callable[[Change], None]:
    """Notes the number of each change, and when it was heard of."""

    def hear(change: Change) -> None:
        assert change.new is not None
        heard.append((int(change.new.value), time.monotonic()))

    return hear


def follow(hosts: str, root: str, count: int) -> None:
    """Follow until stdin ends."""
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # the server is restarted on purpose
    heard: list[list[tuple[int, float]]] = []
    for _ in range(count):
        client = KazooClient(hosts, timeout=60)
        client.start(timeout=PATIENCE_S)
        config = Config(client, root, timeout_s=PATIENCE_S).start()
        heard.append([])
        config.on_change(hearer(heard[-1]))
    print("ready", flush=True)
    while sys.stdin.readline():
        print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    threading.stack_size(256 * 1024)  # there are a thousand threads and more
    follow(sys.argv[1], sys.argv[2], int(sys.argv[3]))
