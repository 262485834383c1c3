"""The command `zkpy`: one file a verb."""

import click

from zkpy import __version__
from zkpy.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="zkpy")
def main() -> None:
    """A ZooKeeper server in Python that existing clients use unchanged."""


main.add_command(serve)
