"""`zkpy lock PATH -- CMD...`: run a command only while a lock is held."""

from __future__ import annotations

import sys
from typing import Any

import click

from zkpy.cli.connecting import connecting, path_argument
from zkpy.cli.holding import PROMISES, STATUSES, Holder, holding


@click.command(epilog=f"{PROMISES}\n\n{STATUSES}")
@connecting
@path_argument
@click.option("--shared", is_flag=True, help="Hold it together with others that share it.")
@click.option("--holders", type=click.IntRange(1), metavar="N", help="Let so many hold it at once: a semaphore.")
@holding
def lock(
    hosts: str,
    auth: tuple[tuple[str, str], ...],
    path: str,
    shared: bool,
    holders: int | None,
    timeout_s: float | None,
    lock_delay_s: float,
    session_timeout_s: float,
    kill_after_s: float,
    words: tuple[str, ...],
) -> None:
    """Acquire the lock at PATH, run CMD, and release it when CMD has ended.

    CMD finds ZKPY_LOCK_PATH, ZKPY_TOKEN (a decimal integer that only grows) and ZKPY_SEQUENCER (what to send along with
    requests, see check-sequencer) in its environment. Signals are passed on to it.
    """

    if shared and holders is not None:
        raise click.UsageError("--shared and --holders exclude each other: a semaphore has no readers")

    def attempting(client: Any) -> Any:
        from zkpy.recipes import Lock, Semaphore

        if holders is not None:
            return Semaphore(client, path, holders, lock_delay_s=lock_delay_s).contend()
        return Lock(client, path, shared=shared, lock_delay_s=lock_delay_s).contend()

    holder = Holder(words, kill_after_s, tells_events=False)
    sys.exit(holder.run(hosts, auth, attempting, timeout_s, session_timeout_s))
