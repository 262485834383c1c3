"""The command `zkpy`: one file a verb, imported only when that verb is asked for.

`zkpy serve` must start fast and without kazoo, which is what the commands that are clients stand on. So a verb's module
is named here and imported by its name, and what it needs of kazoo and of the server it imports when it runs.
"""

from importlib import import_module
from typing import Final

import click

from zkpy import __version__

#: Each verb and the module in this folder that has it, under its own name (with `_` for `-`).
VERBS: Final = {
    "serve": "serve",
    "shell": "shell.command",
    "watch": "watch",
    "config": "config",
    "lock": "lock",
    "elect": "elect",
    "who": "who",
    "check-sequencer": "check_sequencer",
    "bench": "bench.command",
}


class Verbs(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of VERBS."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, None if there is none."""
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(f"zkpy.cli.{VERBS[cmd_name]}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="zkpy")
def main() -> None:
    """A ZooKeeper server in Python that existing clients use unchanged, and commands for any ZooKeeper server."""
