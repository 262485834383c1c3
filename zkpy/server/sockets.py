"""What all ports share: binding, dialing, and why an address cannot be had."""

import errno
import socket
from collections.abc import Sequence
from typing import Final

import trio

#: Connections the kernel may hold for us; generous, as a restarted server sees all its clients at once.
DEFAULT_BACKLOG: Final = 1024

#: Host and port. The host is a name, an IPv4 address, or an IPv6 address without brackets.
Address = tuple[str, int]


def bind(host: str, port: int, backlog: int = DEFAULT_BACKLOG) -> socket.socket:
    """A listening socket that does not block; an empty host is all addresses. Raises OSError or UnicodeError."""
    is_wildcard = not host
    if is_wildcard and socket.has_dualstack_ipv6():
        host = "::"
    family, kind, _, _, address = socket.getaddrinfo(
        host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_wildcard else 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def explain(error: OSError | UnicodeError, flags: str) -> str:
    """Why an address cannot be bound, and what to do; `flags` name what sets it."""
    if isinstance(error, (UnicodeError, socket.gaierror)):
        why = "no host has this name" if isinstance(error, UnicodeError) else str(error.strerror)
        return f"{why}: give an address of this machine ({flags})"
    if error.errno == errno.EADDRINUSE:
        return f"it is in use by another program: stop it, or choose another port ({flags})"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"it is no address of this machine: give one that is ({flags})"
    if error.errno == errno.EACCES:
        return f"this user may not: choose a port above 1023 ({flags})"
    return str(error.strerror)


def prepare(sock: socket.socket, *, keepalive: bool) -> None:
    """Make a socket between servers what it should be: never held back, never blocking."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def dial(addresses: Sequence[Address], timeout_s: float) -> tuple[socket.socket | None, str]:
    """A connection to whichever of these addresses answers first, names looked up afresh; or None, and why not."""
    winner: list[socket.socket] = []
    whys: list[str] = []
    with trio.move_on_after(timeout_s):
        async with trio.open_nursery() as nursery:

            async def try_one(host: str, port: int) -> None:
                try:
                    stream = await trio.open_tcp_stream(host, port)
                except (OSError, UnicodeError, ValueError) as error:
                    cause = error.__cause__
                    if isinstance(cause, BaseExceptionGroup):
                        cause = cause.exceptions[-1]
                    whys.append(f"{host}:{port}: {getattr(cause, 'strerror', None) or error}")
                    return
                winner.append(socket.socket(fileno=stream.socket.detach()))
                nursery.cancel_scope.cancel()

            for host, port in addresses:
                nursery.start_soon(try_one, host, port)
    for other in winner[1:]:
        other.close()
    if winner:
        return winner[0], ""
    return None, "; ".join(whys) or f"no answer within {timeout_s:g} s"
