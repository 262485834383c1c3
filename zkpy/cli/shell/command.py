"""`zkpy shell`: zkCli's verbs on any ZooKeeper server, at a prompt, from a pipe, or one from the command line."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from zkpy.cli.connecting import connecting

if TYPE_CHECKING:
    from zkpy.cli.shell.console import Console

DEFAULT_TIMEOUT_MS: Final = 30_000


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="Exit status: that of the last command: 0 if it was done, 1 if not, 127 if there is no such command; 2 for a"
    " wrong call of zkpy shell itself; 69 if -waitforconnection waited in vain; 130 if interrupted.",
)
@connecting
@click.option("-server", "server", metavar="HOST:PORT,...", help="The same as --hosts, as zkCli has it.")
@click.option(
    "-timeout", "--timeout", "timeout_ms", type=click.IntRange(1), default=DEFAULT_TIMEOUT_MS, show_default=True,
    metavar="MS", help="The session's timeout as asked for, in milliseconds.",
)  # fmt: skip
@click.option("-r", "--read-only", is_flag=True, help="Accept a server that has lost its quorum and only reads.")
@click.option(
    "-waitforconnection", "--wait", "waits", is_flag=True, help="Begin once there is a session, else end with 69."
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[VERB [WORD...]]")
def shell(
    hosts: str,
    auth: tuple[tuple[str, str], ...],
    server: str | None,
    timeout_ms: int,
    read_only: bool,
    waits: bool,
    words: tuple[str, ...],
) -> None:
    """Run zkCli's verbs, and tree, find and export; `help` lists them.

    With VERB: that one, as in `zkpy shell ls -R /`, and the session ends with it. Without: lines from a terminal (with
    completion and history) or a pipe.
    """
    from zkpy.cli.shell.console import Console, Quit
    from zkpy.cli.shell.options import VerbError

    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    console = Console(
        sys.stdout, sys.stderr, timeout_ms=timeout_ms, read_only=read_only, waits=waits,
        auth=[(scheme, credential.encode()) for scheme, credential in auth],
    )  # fmt: skip
    # zkCli prints these for a single verb only if they come before its end: a matter of luck, and of use to nobody.
    console.prints_connection = not words or waits
    hosts = server or hosts
    try:
        console.say(f"Connecting to {hosts}")
        try:
            console.connect(hosts)
        except VerbError as error:
            if error.status == 1:
                raise click.BadParameter(str(error), param_hint="--hosts") from None
            console.complain(str(error))
            sys.exit(error.status)
        if words:
            console.take_words([os.fsencode(word).decode("utf-8", "replace") for word in words])
            if console.was_lost:
                console.complain(
                    f"zkpy: no session at {hosts}: start a server (`zkpy serve`) or name another one with --hosts"
                )
        else:
            console.say("Welcome to ZooKeeper!")
            _take_lines(console)
    except Quit:
        pass
    except BrokenPipeError:
        # Whoever read has enough; nothing more can be said, at the interpreter's end neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        console.status = 1
    except KeyboardInterrupt:
        console.status = 130
    console.close()
    sys.exit(console.status)


def _take_lines(console: Console) -> None:
    if sys.stdin.isatty():
        from zkpy.cli.shell.terminal import read_lines

        lines = read_lines(console)
    else:
        lines = (line.rstrip("\r\n") for line in iter(sys.stdin.readline, ""))
    for line in lines:
        try:
            console.take_line(line)
        except KeyboardInterrupt:
            # At a prompt Ctrl-C gives up the command; in a script, the script.
            if not sys.stdin.isatty():
                raise
            console.complain("interrupted: what was under way may or may not have happened")
