"""`zkpy serve`: run a server until SIGTERM or SIGINT.

Exit statuses are Apache's (ExitCode): 0 after a clean stop, 1 for an unexpected error, 2 for a bad configuration or
call, 3 for a data directory that cannot be used, 14 for an election port that cannot be had.
"""

import gc
import os
import select
import sys
from pathlib import Path
from typing import Any, Final

import click

EXIT_UNEXPECTED: Final = 1
EXIT_CONFIG: Final = 2
EXIT_DATA: Final = 3
EXIT_ELECTION_PORT: Final = 14


def _directory(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    if value == "":
        raise click.BadParameter("it is empty: . is the working directory", ctx, param)
    return None if value is None else Path(value)


@click.command(
    epilog="Exit status, as Apache's: 0 after SIGTERM or SIGINT; 1 for an unexpected error; 2 for a wrong configuration"
    " or call; 3 for a data directory that cannot be used; 14 for an election port that cannot be had. With --ensemble:"
    " 1 if a member ended by itself."
)
@click.argument("zoo_cfg", required=False, type=click.Path(readable=False, path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), help="Client port; 0 = any free one. [default: 2181]")
@click.option("--host", help="Address to listen on. [default: 127.0.0.1 without ZOO_CFG]")
@click.option("--data-dir", type=click.Path(readable=False), callback=_directory, help="Where snapshots and logs live.")
@click.option(
    "--ensemble",
    type=click.IntRange(1, 50),
    help="Run so many members on this machine, each a process of its own, on ports from --port on; for trying out.",
)
@click.option("--log-level", default="info", show_default=True, help="debug, info, warning or error.")
@click.option("--log-json", is_flag=True, help="Log one JSON object per line.")
def serve(
    zoo_cfg: Path | None,
    port: int | None,
    host: str | None,
    data_dir: Path | None,
    ensemble: int | None,
    log_level: str,
    log_json: bool,
) -> None:
    """Run a server. ZOO_CFG is a zoo.cfg as Apache's server takes it.

    Without ZOO_CFG: a standalone server on 127.0.0.1:2181, with a data directory of its own under ~/.local/state/zkpy.
    """
    # What is imported now stays; to look through it for garbage, again and again, is a tenth of a start's work. The
    # server turns it on again, in its own way.
    gc.disable()
    from zkpy.server.config import Config, load_config
    from zkpy.server.errors import ConfigError
    from zkpy.server.logs import get_log, setup_logging

    if not hasattr(select, "epoll"):
        _fail(EXIT_UNEXPECTED, f"a server needs Linux, and this is {sys.platform}: run it in a container, for example")
    try:
        setup_logging(log_level, as_json=log_json)
    except ValueError:
        raise click.BadParameter(f"{log_level!r} is not a log level", param_hint="--log-level") from None
    # What a shell makes of a variable that is not set; it would mean all addresses, and the working directory.
    if host == "":
        raise click.BadParameter("it is empty: 0.0.0.0 or :: listens on every address", param_hint="--host")
    if ensemble is not None:
        if zoo_cfg is not None:
            raise click.UsageError("--ensemble makes the configuration of its members itself: leave out ZOO_CFG")
        from zkpy.cli.local import ELECTION_OFFSET, run_ensemble

        gc.enable()
        first = 2181 if port is None else port
        if not 0 < first <= 65535 - ELECTION_OFFSET - ensemble:
            raise click.BadParameter(f"{first} leaves no room for the other ports", param_hint="--port")
        where = data_dir or default_data_dir(first).with_name(f"ensemble-{first}")
        sys.exit(run_ensemble(ensemble, first, host or "127.0.0.1", where, log_level, log_json=log_json))
    given: dict[str, Any] = {}
    if port is not None:
        given["client_port"] = port
    if host is not None:
        given["client_address"] = host
    try:
        if zoo_cfg is None:
            config = Config.standalone(data_dir or default_data_dir(2181 if port is None else port), **given)
        else:
            import attrs

            config, notes = load_config(zoo_cfg, os.environ)
            if data_dir is not None:
                given["data_dir"] = given["data_log_dir"] = data_dir
            config = attrs.evolve(config, **given)
            log = get_log("zkpy.config")
            for note in notes:
                log.warning(note)
    except ConfigError as error:
        _fail(EXIT_CONFIG, str(error))
    _run(config)


def _run(config: Any) -> None:
    import signal

    import trio

    from zkpy.server.errors import ElectionPortError, ListenError
    from zkpy.server.server import serve as run_server
    from zkpy.storage import StorageError

    async def main() -> None:
        # Until it serves, a signal is a KeyboardInterrupt wherever the start stands: reading a large data directory
        # takes its time, in one piece. Afterwards it cancels, between two turns.
        interrupt: Any = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGTERM, lambda number, frame: interrupt(signal.SIGINT, frame))
        async with trio.open_nursery() as nursery:

            async def stop_on_signal() -> None:
                with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    async for _ in signals:
                        nursery.cancel_scope.cancel()

            def on_serving(host: str, port: int) -> None:
                nursery.start_soon(stop_on_signal)
                shown = f"[{host}]" if ":" in host else host
                if config.members is None:
                    click.echo(f"zkpy serving on {shown}:{port} (data in {config.data_dir})")
                else:
                    count = len(config.members.servers)
                    click.echo(f"zkpy member {config.sid} of {count} on {shown}:{port} (data in {config.data_dir})")
                sys.stdout.flush()

            await run_server(config, on_serving=on_serving)

    # A shell starts what it puts into the background with SIGINT ignored, and then Trio would leave it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        trio.run(main)
    except KeyboardInterrupt:
        return
    except BaseExceptionGroup as group:
        error = _only_one(group)
        if isinstance(error, KeyboardInterrupt):
            return
        if isinstance(error, StorageError):
            _fail(EXIT_DATA, str(error))
        if isinstance(error, ElectionPortError):
            _fail(EXIT_ELECTION_PORT, str(error))
        if isinstance(error, ListenError):
            _fail(EXIT_UNEXPECTED, str(error))
        if isinstance(error, OSError):
            _fail(EXIT_UNEXPECTED, f"{error.filename or 'disk or network'}: {error.strerror or error}")
        raise


def _only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong, if it is one thing; else the group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def default_data_dir(port: int) -> Path:
    """Where a server without a configuration file keeps its data: one directory per port."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "zkpy" / str(port)


def _fail(status: int, text: str) -> None:
    click.echo(f"zkpy: {text}", err=True)
    sys.exit(status)
