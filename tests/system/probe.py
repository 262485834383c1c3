"""A well-behaved client that measures how long it waits: `probe.py PORT`, run in a process of its own.

It pings and reads the root, one after the other, every PAUSE_S. For each line on stdin it makes two more rounds and
prints a JSON list of all latencies in milliseconds since the line before. Standard library only: it has to start fast.
"""

import json
import select
import socket
import struct
import sys
import time

PAUSE_S = 0.003
PING = struct.pack(">iii", 8, -2, 11)
GET = struct.pack(">iiii", 14, 1, 4, 1) + b"/\0"
HELLO = struct.pack(">iiqiqi", 45, 0, 0, 30000, 0, 16) + bytes(17)


class Probe:
    """One connection and what it measured."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.latencies_ms: list[float] = []
        self.ask(HELLO)
        self.latencies_ms.clear()

    def ask(self, packet: bytes) -> None:
        """Send one request and wait for its whole answer."""
        began = time.perf_counter()
        self.sock.sendall(packet)
        length = struct.unpack(">i", self.take(4))[0]
        self.take(length)
        self.latencies_ms.append(round((time.perf_counter() - began) * 1000, 2))

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def round(self) -> None:
        """One ping and one read."""
        self.ask(PING)
        self.ask(GET)


def main() -> None:
    """Measure until stdin ends."""
    probe = Probe(int(sys.argv[1]))
    print("ready", flush=True)
    while True:
        probe.round()
        if select.select([sys.stdin], [], [], PAUSE_S)[0]:
            if not sys.stdin.readline():
                return
            probe.round()
            probe.round()
            print(json.dumps(probe.latencies_ms), flush=True)
            probe.latencies_ms.clear()


if __name__ == "__main__":
    main()
