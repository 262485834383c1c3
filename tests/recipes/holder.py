"""A process that holds a lock: holder PORT PATH SESSION_TIMEOUT_S LOCK_DELAY_S.

Prints the sequencer once it holds, then, again and again, "held MOMENT" if it still holds it at that moment of the
system's monotonic clock or later, else "lost MOMENT", until its standard input ends.
"""

import select
import sys
import time

from kazoo.client import KazooClient

from zkpy.recipes import Lock


def main() -> None:
    port, path, session_timeout_s, lock_delay_s = sys.argv[1:]
    client = KazooClient(f"127.0.0.1:{port}", timeout=float(session_timeout_s))
    client.start(timeout=60)
    grant = Lock(client, path, lock_delay_s=float(lock_delay_s)).acquire(60)
    print(grant.sequencer, flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        moment_s = time.monotonic()  # before asking: the process may be paused in between
        print("held" if grant.is_held() else "lost", moment_s, flush=True)


if __name__ == "__main__":
    main()
