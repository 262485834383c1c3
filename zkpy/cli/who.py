"""`zkpy who PATH`: who holds a lock or leads, since when, and who waits."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from zkpy.cli.connecting import CONNECT_S, Unavailable, connect, connecting, path_argument

if TYPE_CHECKING:
    from zkpy.recipes import Standee, Standings


@click.command(
    epilog="Exit status: 0, whether anybody holds it or not; 69 if no server says; 77 if it is not permitted; 2 for a"
    " wrong call."
)
@connecting
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; times are milliseconds since 1970.")
@path_argument
def who(hosts: str, auth: tuple[tuple[str, str], ...], as_json: bool, path: str) -> None:
    """List the holders and the waiters of the lock, semaphore or election at PATH: tokens, owners, ages.

    An age is by the servers' clock against this machine's. Of kazoo's and Curator's holders it is not known since when
    they hold.
    """
    with connect(hosts, auth=auth) as client:
        from zkpy.recipes import who as ask

        try:
            standings = ask(client, path, CONNECT_S)
        except TimeoutError as error:
            raise Unavailable(str(error)) from None
    if as_json:
        told = {
            "path": standings.path,
            "holders": [_told(one, standings) for one in standings.holders],
            "waiters": [_told(one, None) for one in standings.waiters],
        }
        click.echo(json.dumps(told, indent=2))
        return
    if not standings.holders and not standings.waiters:
        click.echo(f"nobody at {standings.path}")
        return
    now_ms = time.time() * 1000
    rows = [("", "TOKEN", "MODE", "AGE", "OWNER")]
    for state, standees in (("holds", standings.holders), ("waits", standings.waiters)):
        for one in standees:
            since_ms = one.since_ms if one.held_since_ms is None or state == "waits" else one.held_since_ms
            age = f"{max(0.0, now_ms - since_ms) / 1000:.1f} s"
            rows.append((state, str(one.token), one.mode.value, age, one.owner))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        click.echo("  ".join(cells).rstrip())


def _told(one: Standee, held_in: Standings | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "owner": one.owner,
        "mode": one.mode.value,
        "token": one.token,
        "session_id": one.session_id,
        "since_ms": one.since_ms,
    }
    if held_in is not None:
        told |= {"held_since_ms": one.held_since_ms, "lock_delay_s": one.lock_delay_s}
        told["sequencer"] = str(held_in.sequencer_of(one))
    return told
