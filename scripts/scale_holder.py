#!/usr/bin/env python3
"""Thousands of clients that only hold their sessions, in one process, for scripts/scale.

    scale_holder.py PORT COUNT TIMEOUT_MS

Opens COUNT sessions and says "ready". From then on each pings every third of its timeout, evenly spread. Lines on
stdin, each answered with one line:

    watch PATH     every client asks for the node and watches it; answered when all have their answer
    fired          answered with [first, last] moment (time.monotonic) at which their events came, once all have
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

HELLO = struct.Struct(">iiqiqi16sB")
PING = struct.pack(">iii", 8, -2, 11)
AT_A_TIME = 20
PATIENCE_S = 60


class Holder:
    """The connections, and what is expected of them."""

    def __init__(self, port: int, count: int, timeout_ms: int) -> None:
        self.epoll = select.epoll()
        self.by_fd: dict[int, socket.socket] = {}
        self.answers = 0
        self.events_s: list[float] = []
        for _ in range(0, count, AT_A_TIME):
            batch = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(AT_A_TIME)]
            for sock in batch:
                sock.sendall(HELLO.pack(45, 0, 0, timeout_ms, 0, 16, bytes(16), 0))
            for sock in batch:
                if len(sock.recv(41, socket.MSG_WAITALL)) != 41:
                    raise EOFError("a handshake was not answered")
                sock.setblocking(False)
                self.by_fd[sock.fileno()] = sock
                self.epoll.register(sock.fileno(), select.EPOLLIN)
        self.order = list(self.by_fd.values())
        self.next = 0
        self.pause_s = timeout_ms / 3000 / len(self.order)
        self.due_s = time.monotonic()

    def step(self) -> None:
        """Ping whoever is due, and read what has come in the next milliseconds."""
        now_s = time.monotonic()
        while self.due_s <= now_s:
            self.order[self.next].send(PING)
            self.next = (self.next + 1) % len(self.order)
            self.due_s += self.pause_s
        for fd, _ in self.epoll.poll(0.005):
            data = self.by_fd[fd].recv(65536)
            if not data:
                raise EOFError("a connection was closed by the server")
            while data:
                length, xid = struct.unpack_from(">ii", data)
                if xid == -1:
                    self.events_s.append(time.monotonic())
                elif xid != -2:
                    self.answers += 1
                data = data[4 + length :]

    def watch(self, path: str) -> None:
        """Have every client watch the node."""
        encoded = path.encode()
        body = struct.pack(">iii", 1, 4, len(encoded)) + encoded + b"\1"
        packet = struct.pack(">i", len(body)) + body
        self.answers = 0
        self.events_s.clear()
        for at, sock in enumerate(self.order):
            sock.send(packet)
            if not at % 100:
                self.step()
        while self.answers < len(self.order):
            self.step()

    def fired(self) -> tuple[float, float]:
        """When the first and the last of the events came."""
        while len(self.events_s) < len(self.order):
            self.step()
        return self.events_s[0], self.events_s[-1]


def main() -> None:
    holder = Holder(*map(int, sys.argv[1:4]))
    print("ready", flush=True)
    while True:
        holder.step()
        if select.select([sys.stdin], [], [], 0)[0]:
            words = sys.stdin.readline().split()
            if not words:
                return
            answer = holder.watch(words[1]) if words[0] == "watch" else holder.fired()
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
