"""`zkpy check-sequencer SEQUENCER`: does this grant still hold?"""

from __future__ import annotations

import json
import sys
from typing import Final

import click

from zkpy.cli.connecting import CONNECT_S, Unavailable, connect, connecting, require_kazoo

EXIT_STALE: Final = 1


@click.command(
    epilog="Exit status: 0 while it holds, 1 once it does not; 2 for what is no sequencer; 69 if no server says;"
    " 77 if it is not permitted."
)
@connecting
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.argument("sequencer")
def check_sequencer(hosts: str, auth: tuple[tuple[str, str], ...], as_json: bool, sequencer: str) -> None:
    """Ask the servers whether the lock is still held under SEQUENCER, as of now."""
    require_kazoo()
    from zkpy.recipes import BadSequencer, Sequencer
    from zkpy.recipes import check_sequencer as check

    try:
        parsed = Sequencer.parse(sequencer)
    except BadSequencer as error:
        raise click.BadParameter(str(error), param_hint="SEQUENCER") from None
    with connect(hosts, auth=auth) as client:
        try:
            holds = check(client, parsed, CONNECT_S)
        except TimeoutError as error:
            raise Unavailable(str(error)) from None
    if as_json:
        told = {"holds": holds, "path": parsed.path, "mode": parsed.mode.value, "token": parsed.token}
        click.echo(json.dumps(told))
    else:
        click.echo("holds" if holds else "does not hold")
    sys.exit(0 if holds else EXIT_STALE)
