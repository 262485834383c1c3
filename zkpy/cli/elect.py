"""`zkpy elect PATH -- CMD...`: run a command only while elected."""

from __future__ import annotations

import sys
from typing import Any

import click

from zkpy.cli.connecting import connecting, path_argument
from zkpy.cli.holding import PROMISES, STATUSES, Holder, holding


@click.command(epilog=f"{PROMISES}\n\n{STATUSES}")
@connecting
@path_argument
@holding
def elect(
    hosts: str,
    auth: tuple[tuple[str, str], ...],
    path: str,
    timeout_s: float | None,
    lock_delay_s: float,
    session_timeout_s: float,
    kill_after_s: float,
    words: tuple[str, ...],
) -> None:
    """Stand for election at PATH, run CMD once elected, and resign when CMD has ended.

    What happens to the leadership (in jeopardy, safe again, lost) is told on stderr. CMD finds ZKPY_LOCK_PATH,
    ZKPY_TOKEN (a decimal integer that only grows) and ZKPY_SEQUENCER in its environment. Signals are passed on to it.
    """

    def attempting(client: Any) -> Any:
        from zkpy.recipes import Lock

        return Lock(client, path, lock_delay_s=lock_delay_s).contend()

    holder = Holder(words, kill_after_s, tells_events=True)
    sys.exit(holder.run(hosts, auth, attempting, timeout_s, session_timeout_s))
