"""Asking the servers through a kazoo client, with an end to the waiting; and what kazoo does not tell of its session.

Law: only this file calls what kazoo keeps to itself.

kazoo holds a request back while the connection is lost and sends it once there is a new one, so an answer may take any
time: every wait here has an end, and who gives up waiting must reckon with the request being carried out later.
"""

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionMovedError,
)
from kazoo.protocol.serialization import Close, Connect

from zkpy.recipes.lease import now_s

#: After these a request may or may not have been carried out, and can be asked again.
UNSURE: Final = (ConnectionLoss, OperationTimeoutError, SessionMovedError)
#: Between two attempts while there is no connection.
PAUSE_S: Final = 0.05
#: Between two looks at whether an answer is still wanted.
SLICE_S: Final = 0.1


class OutOfTime(Exception):
    """No answer by the time given; the request may still be carried out."""


def ask(
    client: KazooClient,
    request: Callable[[], Any],
    until_s: float | None = None,
    is_given_up: Callable[[], bool] = lambda: False,
) -> Any:
    """The result of one asynchronous request. Raises what kazoo raises.

    Raises OutOfTime at `until_s` (`now_s`), or soon after `is_given_up` has become true.
    """
    pending = request()
    while not pending.ready():
        left_s = SLICE_S if until_s is None else min(SLICE_S, until_s - now_s())
        if left_s <= 0 or is_given_up():
            raise OutOfTime
        pending.wait(left_s)
        # The handler's threads carry some answers; once they are stopped these never come.
        if not client.handler.running and not pending.ready():
            raise ConnectionClosedError("the client was stopped")
    return pending.get()


def verdict(results: Sequence[Any]) -> list[Any]:
    """The results of a committed transaction. Raises the error of the operation at fault if it was refused."""
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, RolledBackError | RuntimeInconsistency):
            raise result
    return list(results)


def is_closed(error: BaseException) -> bool:
    """Did the application stop the client? (kazoo calls that an expired session, too.)"""
    return isinstance(error, ConnectionClosedError)


class Timeouts:
    """The session timeouts that servers grant to clients; each client's is asked for once.

    kazoo forgets what it negotiated. So a second session is opened for a moment with the same request, at any of the
    client's servers: what is granted depends on the request and on the servers' settings alone, and those of an
    ensemble are meant to agree.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[KazooClient, float] = WeakKeyDictionary()

    def of(self, client: KazooClient) -> float:
        """Seconds. Raises kazoo's ConnectionLoss if no server answers."""
        with self._lock:
            known = self._known.get(client)
        if known is None:
            known = _negotiate(client)  # unlocked: a server that is slow to answer holds up no other client
            with self._lock:
                self._known[client] = known
        return known


TIMEOUTS: Final = Timeouts()


def _negotiate(client: KazooClient) -> float:
    requested_ms = client._session_timeout
    connect = Connect(0, 0, requested_ms, 0, bytes(16), client.read_only).serialize()
    close = struct.pack(">ii", 1, Close.type)
    error: OSError = OSError("no server is known")
    for host, port in list(client.hosts):
        try:
            link = client.handler.create_connection(
                address=(host, port),
                hostname=host,
                timeout=requested_ms / 1000,
                use_ssl=client.use_ssl,
                keyfile=client.keyfile,
                certfile=client.certfile,
                ca=client.ca,
                keyfile_password=client.keyfile_password,
                verify_certs=client.verify_certs,
                check_hostname=client.check_hostname,
            )
            with link:
                link.settimeout(requested_ms / 1000)
                link.sendall(struct.pack(">i", len(connect)) + connect)
                reply, _ = Connect.deserialize(_read(link, struct.unpack(">i", _read(link, 4))[0]), 0)
                link.sendall(struct.pack(">i", len(close)) + close)
                _read(link, 4)  # so that the session is closed, not left to expire
            return float(reply.time_out) / 1000
        except client.handler.timeout_exception as timeout:
            error = TimeoutError(str(timeout))
        except OSError as failed:
            error = failed
    raise ConnectionLoss(f"no server says which session timeout it grants: {error}")


def _read(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            raise OSError("the server closed the connection")
        data += more
    return data
