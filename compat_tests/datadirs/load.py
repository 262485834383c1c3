"""Writers that never stop: each keeps to a node of its own and knows what must be there at any moment."""

from __future__ import annotations

import threading
from typing import Any

from compat_tests.peers import Server

from .client import Client
from .served import Served
from .story import acl, await_true

ACLS = ([acl(31, "world", "anyone")], [acl(31, "world", "anyone"), acl(1, "ip", "127.0.0.1")])

#: What stands in a writer's node: name → data, version, aversion.
State = dict[str, tuple[bytes, int, int]]


class Writer:
    """One client in a thread; ends when the server does."""

    def __init__(self, server: Server, path: str) -> None:
        self.path = path
        self.acknowledged = 0
        #: As of the last acknowledgement, and as of the request that may be under way.
        self.now: State = {}
        self.next: State = {}
        self._client = Client(server)
        self._client.do("create", path=path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def check(self, served: Served) -> None:
        """Everything acknowledged is there, and nothing else but the one request that was under way."""
        prefix = self.path + "/"
        found = {
            path.removeprefix(prefix): (node.data, node.field("version"), node.field("aversion"))
            for path, node in served.nodes.items()
            if path.startswith(prefix)
        }
        assert found in (self.now, self.next), f"{self.path}: {found}\n{self.now}\n{self.next}"

    def _run(self) -> None:
        number = 0
        try:
            while True:
                self._write(number)
                number += 1
        except (EOFError, OSError):
            self._client.leave()

    def _write(self, number: int) -> None:
        name, data = f"n{number}", bytes([number % 256]) * (number % 700)
        self._do("create", {name: (data, 0, 0)}, path=name, data=data)
        if number % 2:
            self._do("setData", {name: (data * 2, 1, 0)}, path=name, data=data * 2)
        if number % 3 == 0:
            version = self.now[name][1]
            self._do("setACL", {name: (self.now[name][0], version, 1)}, path=name, acl=ACLS[number % 2])
        if number % 5 == 4:
            self._do("delete", {f"n{number - 2}": None}, path=f"n{number - 2}")
        if number % 7 == 6:
            after = {f"m{number}": (b"1", 1, 0), f"n{number - 3}": None, name: (b"both", self.now[name][1] + 1, 0)}
            if number % 3 == 0:
                after[name] = (b"both", self.now[name][1] + 1, 1)
            if f"n{number - 3}" in self.now:
                self._multi(after, f"m{number}", f"n{number - 3}", name)

    def _do(self, op: str, changes: dict[str, tuple[bytes, int, int] | None], *, path: str, **fields: Any) -> None:
        self._expect(changes)
        self._client.do(op, path=f"{self.path}/{path}", **fields)
        self._acknowledge()

    def _multi(self, changes: dict[str, tuple[bytes, int, int] | None], born: str, gone: str, changed: str) -> None:
        self._expect(changes)
        self._client.multi(
            ("create", {"path": f"{self.path}/{born}", "data": b""}),
            ("setData", {"path": f"{self.path}/{born}", "data": b"1"}),
            ("delete", {"path": f"{self.path}/{gone}"}),
            ("setData", {"path": f"{self.path}/{changed}", "data": b"both"}),
        )
        self._acknowledge()

    def _expect(self, changes: dict[str, tuple[bytes, int, int] | None]) -> None:
        after: dict[str, tuple[bytes, int, int] | None] = {**self.now, **changes}
        self.next = {name: value for name, value in after.items() if value is not None}

    def _acknowledge(self) -> None:
        self.now = self.next
        self.acknowledged += 1


def write_until(server: Server, paths: list[str], acknowledged: int) -> list[Writer]:
    """Start a writer for each path; they are at work, each with so many acknowledged requests, when this returns."""
    writers = [Writer(server, path) for path in paths]
    await_true(lambda: all(one.acknowledged >= acknowledged for one in writers), "all writers get on")
    return writers
