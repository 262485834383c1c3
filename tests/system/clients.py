"""Clients of a server process: a blocking socket that says what a test wants said, and a probe in a process of its own.

`Client` knows the protocol and may break it at any point. `Probe` pings and reads all the time and says how long the
slowest answer took: its own process, so that what the test does meanwhile is no part of the figure.
"""

import json
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from struct import Struct
from types import TracebackType

from jute.record import Record
from tests.system.processes import ROOT
from zkpy.proto import opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import (
    ACL,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    Id,
    SetDataRequest,
)

HEADER = Struct(">ii")
REPLY = Struct(">iqi")
LENGTH = Struct(">i")
OPEN = [ACL(opcodes.PERM_ALL, Id("world", "anyone"))]
EPHEMERAL = 1
#: No answer takes longer unless something hangs.
TIMEOUT_S = 20.0
PING = frame(HEADER.pack(opcodes.XID_PING, opcodes.PING))


@dataclass(frozen=True)
class Reply:
    """A reply or, with xid -1, an event; its body still encoded."""

    xid: int
    zxid: int
    err: int
    body: bytes = b""


def hello(
    timeout_ms: int = 10000, session_id: int = 0, password: bytes | None = bytes(16), *, version: int = 0, zxid: int = 0
) -> bytes:
    """A framed ConnectRequest."""
    return frame(ConnectRequest(version, zxid, timeout_ms, session_id, password, False).to_bytes())


def request(xid: int, op: int, body: Record | bytes = b"") -> bytes:
    """A framed request."""
    return frame(HEADER.pack(xid, op) + (body if isinstance(body, bytes) else body.to_bytes()))


def create(xid: int, path: str, data: bytes = b"", flags: int = 0) -> bytes:
    """A framed create."""
    return request(xid, opcodes.CREATE, CreateRequest(path, data, OPEN, flags))


class Client:
    """One TCP connection."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = TIMEOUT_S) -> None:
        self.sock = socket.create_connection((host, port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        #: As the server's log names this connection.
        self.address = "{}:{}".format(*self.sock.getsockname())
        self.session_id = 0
        self.password = bytes(16)
        self.timeout_ms = 0
        self.xid = 0
        self._received = bytearray()

    def connect(self, timeout_ms: int = 10000, session_id: int = 0, password: bytes = bytes(16)) -> ConnectResponse:
        """Shake hands. Raises EOFError if the server hangs up."""
        self.sock.sendall(hello(timeout_ms, session_id, password))
        answer = ConnectResponse.decode(self.packet(), 0)[0]
        self.session_id, self.password, self.timeout_ms = answer.session_id, answer.passwd or b"", answer.time_out
        return answer

    def send(self, *packets: bytes) -> None:
        """Bytes as they are."""
        self.sock.sendall(b"".join(packets))

    def packet(self) -> bytes:
        """The next packet. Raises EOFError when the server has hung up, TimeoutError when nothing comes."""
        received = self._received
        while True:
            if len(received) >= 4:
                end = 4 + LENGTH.unpack_from(received)[0]
                if len(received) >= end:
                    packet = bytes(received[4:end])
                    del received[:end]
                    return packet
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            received += data

    def reply(self) -> Reply:
        """The next packet as a reply."""
        packet = self.packet()
        return Reply(*REPLY.unpack_from(packet), packet[16:])

    def call(self, op: int, body: Record | bytes = b"", xid: int | None = None) -> Reply:
        """Send one request and take the next packet for its reply."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send(request(xid, op, body))
        reply = self.reply()
        assert reply.xid == xid, reply
        return reply

    def ping(self) -> Reply:
        """Ping."""
        return self.call(opcodes.PING, xid=opcodes.XID_PING)

    def create(self, path: str, data: bytes = b"", flags: int = 0) -> Reply:
        """create."""
        return self.call(opcodes.CREATE, CreateRequest(path, data, OPEN, flags))

    def set(self, path: str, data: bytes = b"") -> Reply:
        """setData."""
        return self.call(opcodes.SET_DATA, SetDataRequest(path, data, -1))

    def get(self, path: str) -> bytes | None:
        """The data of a node that must exist."""
        reply = self.call(opcodes.GET_DATA, GetDataRequest(path, False))
        assert reply.err == 0, (path, reply)
        return GetDataResponse.decode(reply.body, 0)[0].data

    def children(self, path: str) -> list[str]:
        """The names in a node that must exist."""
        reply = self.call(opcodes.GET_CHILDREN, GetDataRequest(path, False))
        assert reply.err == 0, (path, reply)
        return [name or "" for name in GetChildrenResponse.decode(reply.body, 0)[0].children or []]

    def rest(self) -> bytes:
        """Everything that comes until the server hangs up. Raises TimeoutError if it does not."""
        data = bytes(self._received)
        self._received.clear()
        while True:
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionError:
                return data
            if not more:
                return data
            data += more

    def close(self) -> None:
        """Hang up without a word."""
        self.sock.close()

    def reset(self) -> None:
        """Hang up with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def connected(port: int, timeout_ms: int = 10000) -> Client:
    """A client with a session of its own."""
    client = Client(port)
    client.connect(timeout_ms)
    return client


def word(port: int, text: str) -> str:
    """The answer to a four-letter word."""
    with Client(port) as client:
        client.send(text.encode())
        return client.rest().decode()


class Probe:
    """A client in another process that pings and reads every few milliseconds; see `probe.py`."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "system" / "probe.py"), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answer()  # it has its session

    def worst_ms(self) -> float:
        """The slowest answer since the last call, of at least four that began after this one."""
        return max(self.latencies_ms())

    def latencies_ms(self) -> list[float]:
        """How long each answer since the last call took."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        latencies: list[float] = json.loads(self._answer())
        return latencies

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(TIMEOUT_S)
        self._process.stdout.close()

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the probe has ended: the server hung up on it or did not answer"
        return line

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
