"""A link between one client and a server that can be cut, frozen, and made to lose the answer to a chosen request.

client ⇄ Proxy ⇄ server          two threads a connection; whole frames in both directions
"""

import socket
import struct
import threading
from contextlib import suppress

CREATE = 1
DELETE = 2
MULTI = 14


class Proxy:
    """Listens on a port of its own; a context manager."""

    def __init__(self, port: int) -> None:
        """`port`: the server's, on 127.0.0.1."""
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._mutex = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_cut = False
        self._is_closed = False
        self._sockets: set[socket.socket] = set()
        #: Opcode → how many answers to it are still to be lost, and how many requests.
        self._lost_answers: dict[int, int] = {}
        self._lost_requests: dict[int, int] = {}
        #: Counts the connections that were broken because of either.
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def hosts(self) -> str:
        """The connect string that leads through here."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break all connections, and take no new ones."""
        with self._mutex:
            self._is_cut = True
            for sock in self._sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Take connections again."""
        self._is_cut = False

    def drop(self) -> None:
        """Break all connections, and take new ones at once."""
        self.cut()
        self.mend()

    def freeze(self) -> None:
        """Let nothing through, without a word to either side."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let everything through that was held back, and what follows."""
        self._flowing.set()

    def lose_answer(self, opcode: int, times: int = 1) -> None:
        """Break the connection in place of the answer to the next `times` requests of this kind."""
        self._lost_answers[opcode] = times

    def lose_request(self, opcode: int, times: int = 1) -> None:
        """Break the connection in place of the next `times` requests of this kind."""
        self._lost_requests[opcode] = times

    def close(self) -> None:
        self._is_closed = True
        self.cut()
        self._flowing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            with self._mutex:
                self._sockets |= {client, server}
            awaited: set[int] = set()  # xids whose answers are to be lost
            pumps = (
                threading.Thread(target=self._requests, args=(client, server, awaited), daemon=True),
                threading.Thread(target=self._answers, args=(server, client, awaited), daemon=True),
            )
            for pump in pumps:
                pump.start()
            threading.Thread(target=self._bury, args=(pumps, client, server), daemon=True).start()

    def _bury(self, pumps: tuple[threading.Thread, ...], *sockets: socket.socket) -> None:
        for pump in pumps:
            pump.join()
        with self._mutex:
            self._sockets -= set(sockets)
        for sock in sockets:
            sock.close()

    def _requests(self, client: socket.socket, server: socket.socket, awaited: set[int]) -> None:
        is_handshake = True
        with suppress(OSError):
            while frame := _frame(client):
                if not is_handshake:
                    xid, opcode = struct.unpack_from(">ii", frame, 4)
                    if self._counts_down(self._lost_requests, opcode):
                        break
                    if self._counts_down(self._lost_answers, opcode):
                        awaited.add(xid)
                is_handshake = False
                self._flowing.wait()
                server.sendall(frame)
        _break(client, server)

    def _answers(self, server: socket.socket, client: socket.socket, awaited: set[int]) -> None:
        is_handshake = True
        with suppress(OSError):
            while frame := _frame(server):
                if not is_handshake and struct.unpack_from(">i", frame, 4)[0] in awaited:
                    self.lost += 1
                    break
                is_handshake = False
                self._flowing.wait()
                client.sendall(frame)
        _break(client, server)

    def _counts_down(self, counters: dict[int, int], opcode: int) -> bool:
        if counters.get(opcode, 0) == 0:
            return False
        counters[opcode] -= 1
        self.lost += counters is self._lost_requests
        return True


def _break(*sockets: socket.socket) -> None:
    for sock in sockets:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _frame(sock: socket.socket) -> bytes:
    """The next frame with its length, b"" at the end."""
    head = _exactly(sock, 4)
    return head and head + _exactly(sock, struct.unpack(">i", head)[0])


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            return b""
        data += more
    return data
