"""Ports that the kernel chooses and that stay ours while nobody listens: between two starts, and before the first.

A socket that is bound and does not listen keeps a port from being given away. A server may listen on it all the same,
for both sockets say SO_REUSEADDR.
"""

import socket

HOST = "127.0.0.1"


class Ports:
    """So many ports, until `close`."""

    def __init__(self, count: int) -> None:
        self._sockets: list[socket.socket] = []
        try:
            for _ in range(count):
                sock = socket.socket()
                self._sockets.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((HOST, 0))
        except OSError:
            self.close()
            raise
        self.numbers: list[int] = [sock.getsockname()[1] for sock in self._sockets]

    def close(self) -> None:
        """Give them back."""
        for sock in self._sockets:
            sock.close()
