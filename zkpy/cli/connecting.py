"""What all commands that are clients share: `--hosts`, `--auth`, a connection, and errors in plain words.

    @click.command()
    @connecting
    def verb(hosts: str, auth: tuple[tuple[str, str], ...]) -> None:
        with connect(hosts, 10.0, auth=auth) as zk: ...

Its law: whatever a server or a network does ends in one line on stderr and an exit status, never in a traceback. A
command catches the answers that mean something to it (NoNodeError above all, which carries no path); what it leaves is
put into words here.

Exit statuses: 2 for a wrong call (click's own), 69 when no server can be had or the connection was lost, 77 when the
server does not permit it, 1 for any other refusal. 69 and 77 are EX_UNAVAILABLE and EX_NOPERM of sysexits.h.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import click

EXIT_REFUSED: Final = 1
EXIT_UNAVAILABLE: Final = 69
EXIT_NOT_PERMITTED: Final = 77

DEFAULT_HOSTS: Final = "127.0.0.1:2181"
DEFAULT_PORT: Final = 2181
#: How long a command tries to get a connection, in seconds.
CONNECT_S: Final = 10.0
#: How long a single look at whether anybody listens may take.
PROBE_S: Final = 2.0

_Command = TypeVar("_Command", bound=Callable[..., object])


class CommandError(click.ClickException):
    """A command ends with this text on stderr, in one line, and with the `exit_code` of the class."""

    exit_code = EXIT_REFUSED

    def show(self, file: Any = None) -> None:
        """As every zkpy command says it."""
        click.echo(f"zkpy: {self.message}", file=file, err=file is None)


class Unavailable(CommandError):
    """No server, no connection, or not what the command needs on this side."""

    exit_code = EXIT_UNAVAILABLE


class NotPermitted(CommandError):
    """The server knows who asks, and does not let him."""

    exit_code = EXIT_NOT_PERMITTED


def _credentials(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`digest:user:password` → ("digest", "user:password"), for each."""
    pairs = []
    for value in values:
        scheme, colon, credential = value.partition(":")
        if not scheme or not colon:
            raise click.BadParameter(f"{value!r} has no scheme: write digest:USER:PASSWORD", ctx, param)
        pairs.append((scheme, credential))
    return tuple(pairs)


def _path(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from zkpy.cli.shell.paths import BadPath, validate

    try:
        validate(value)
    except BadPath as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return value


#: PATH, which a znode may have.
path_argument = click.argument("path", callback=_path)


def connecting(command: _Command) -> _Command:
    """Give a command the options `--hosts` (a connect string) and `--auth` (pairs of scheme and credential)."""
    command = click.option(
        "--auth",
        multiple=True,
        metavar="SCHEME:ID",
        callback=_credentials,
        help="Credentials, as in digest:user:password; may be given several times.",
    )(command)
    return click.option(
        "--hosts",
        default=DEFAULT_HOSTS,
        show_default=True,
        metavar="HOST:PORT,...",
        help="The servers; a path after the last one (host:2181/app) is put before every path.",
    )(command)


@contextmanager
def connect(
    hosts: str,
    timeout: float = CONNECT_S,
    *,
    auth: Sequence[tuple[str, str]] = (),
    session_timeout: float = 10.0,
    **options: Any,
) -> Iterator[Any]:
    """A connected KazooClient, closed at the end; what kazoo raises meanwhile becomes a CommandError.

    `timeout` bounds the wait for a connection, at first and whenever it was lost, in seconds (a command that is to live
    through longer outages gives its own `connection_retry`); where nobody listens at first, that is said at once.
    `session_timeout` is asked of the server, in seconds. Further options are KazooClient's.
    """
    kazoo = require_kazoo()
    addresses = addresses_of(hosts)
    probe(addresses, hosts)
    # Without a deadline kazoo keeps a request made during an outage, and its caller, for as long as that lasts.
    options.setdefault("connection_retry", {"max_tries": -1, "max_delay": 1.0, "deadline": timeout})
    client = kazoo.KazooClient(hosts, timeout=session_timeout, logger=_silent_logger(), **options)
    if not client.start_async().wait(timeout):
        # It stands in a read that ends with the session's timeout; nobody needs to wait for that.
        threading.Thread(target=_close, args=(client,), daemon=True).start()
        raise Unavailable(
            f"{hosts} gave no session within {timeout:g} s: it does not answer, has no quorum, or is no ZooKeeper"
            " server"
        )
    try:
        with _plain_words(hosts):
            for scheme, credential in auth:
                client.add_auth(scheme, credential)  # left to the start, a refusal would look like a lost connection
            yield client
    finally:
        _close(client)


def _close(client: Any) -> None:
    # A connection that is down already has nothing to close.
    with suppress(Exception):
        client.stop()
    with suppress(Exception):
        client.close()


@contextmanager
def _plain_words(hosts: str) -> Iterator[None]:
    from kazoo import exceptions as errors
    from kazoo.handlers.threading import KazooTimeoutError
    from kazoo.retry import RetryFailedError

    lost = (
        errors.ConnectionLoss,
        errors.SessionExpiredError,
        errors.ConnectionClosedError,
        errors.OperationTimeoutError,
        KazooTimeoutError,
        RetryFailedError,
    )
    try:
        yield
    except lost as error:
        raise Unavailable(
            f"the connection to {hosts} was lost ({type(error).__name__}): what was under way may or may not have"
            " happened"
        ) from error
    except errors.AuthFailedError as error:
        raise NotPermitted(f"{hosts} does not accept these credentials: see --auth") from error
    except errors.NoAuthError as error:
        raise NotPermitted(
            "the node's ACL does not permit this: give credentials with --auth digest:USER:PASSWORD"
        ) from error
    except errors.KazooException as error:
        text = f": {error}" if str(error) else ""
        raise CommandError(f"{hosts} refused with {type(error).__name__}{text}") from error


def addresses_of(hosts: str) -> list[tuple[str, int]]:
    """Host and port of each server in a connect string, whose path behind the last one is looked at too."""
    from zkpy.cli.shell.paths import BadPath, validate

    servers, _, root = hosts.partition("/")
    try:
        validate(f"/{root}".rstrip("/") or "/")
    except BadPath as error:
        raise click.BadParameter(f"{error} (behind the servers)", param_hint="--hosts") from None
    addresses = []
    for server in servers.split(","):
        text = server.strip()
        host, port = _split(text)
        if not host:
            raise click.BadParameter(
                f"{hosts!r} names no server: write host:port, several with commas between them", param_hint="--hosts"
            )
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise click.BadParameter(f"{port!r} in {text!r} is no port (1 to 65535)", param_hint="--hosts")
        addresses.append((host, int(port)))
    return addresses


def _split(server: str) -> tuple[str, str]:
    """Host and port; an IPv6 address stands in brackets if a port follows it."""
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        return host, rest.removeprefix(":") or str(DEFAULT_PORT)
    if server.count(":") > 1:
        return server, str(DEFAULT_PORT)
    host, colon, port = server.partition(":")
    return host, port if colon else str(DEFAULT_PORT)


def probe(addresses: list[tuple[str, int]], hosts: str) -> None:
    """Say at once that nobody listens at any address; kazoo would try again until its time is up."""
    reasons = []
    for host, port in addresses:
        try:
            socket.create_connection((host, port), PROBE_S).close()
        except ConnectionRefusedError:
            reasons.append(f"nobody listens on {host}:{port}")
        except socket.gaierror:
            reasons.append(f"there is no host {host}")
        except OSError:
            return  # unreachable now: kazoo tries as long as it may
        else:
            return
    raise Unavailable(f"{'; '.join(reasons)}: start a server (`zkpy serve`) or name another one with --hosts")


def require_kazoo() -> Any:
    """The module of its client. Raises Unavailable where it is not installed."""
    try:
        import kazoo.client
    except ImportError:
        raise Unavailable("this command needs kazoo: pip install 'zkpy[recipes]'") from None
    return kazoo.client


def _silent_logger() -> logging.Logger:
    """kazoo logs each lost connection as a warning; a command says what came of it."""
    logger = logging.getLogger("zkpy.cli.kazoo")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
