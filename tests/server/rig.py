"""A server in this process, its turns run one by one: real sockets, a disk in memory, a clock in the test's hand."""

import socket
import time
from types import TracebackType
from typing import Any

from tests.system.clients import Client, hello
from zkpy.keeper.connection import Connection
from zkpy.keeper.keeper import Keeper
from zkpy.keeper.settings import Settings
from zkpy.proto.records import ConnectResponse
from zkpy.replica import Replica
from zkpy.server.hub import Hub, Link
from zkpy.tree.datatree import DataTree

START_MS = 1_000_000
WALL_MS = 1_700_000_000_000


def listen(host: str = "127.0.0.1") -> socket.socket:
    """A listening socket as the server makes it."""
    sock = socket.create_server((host, 0), backlog=1024)
    sock.setblocking(False)
    return sock


class Rig:
    """A hub and its replica. `holds_disk` keeps what is proposed unsynced until `sync`."""

    def __init__(self, settings: dict[str, Any] | None = None, **hub_options: Any) -> None:
        listener = listen()
        self.port: int = listener.getsockname()[1]
        self.now_ms = START_MS
        self.keeper = Keeper(DataTree(), Settings(**(settings or {})), START_MS, WALL_MS)
        self.replica = Replica(self.keeper)
        self.hub = Hub(self.replica, [listener], **hub_options)
        self.holds_disk = False
        self.token = -1

    # --- turns -------------------------------------------------------------------------------------------------

    def read(self) -> bool:
        """The first half of a turn: take what has arrived."""
        self.replica.begin(self.now_ms, WALL_MS)
        return self.hub.read(self.now_ms, is_behind=self.token >= 0)

    def finish(self) -> None:
        """The second half: carry out and send."""
        while True:
            ready = self.replica.ready()
            if ready.append:
                if self.holds_disk:
                    self.token = ready.token
                    break
                self.replica.synced(ready.token)
            elif not ready.committed:
                break
        self.hub.flush(self.keeper.take_dirty())

    def turn(self) -> bool:
        """A whole turn. True if the hub says that there is more at once."""
        more = self.read()
        self.finish()
        return more

    def turns(self, count: int = 6) -> None:
        """Some turns: enough for whatever is under way between two sockets of this process."""
        for _ in range(count):
            self.turn()
            time.sleep(0.0005)

    def sync(self) -> None:
        """What was held back reaches the disk."""
        token, self.token = self.token, -1
        self.replica.synced(token)
        self.finish()

    # --- clients -----------------------------------------------------------------------------------------------

    def client(self) -> Client:
        """A client that is connected and has a session; it does not wait longer than a moment for anything."""
        client = self.stranger()
        client.send(hello(60_000))
        self.turns()
        answer = ConnectResponse.decode(client.packet(), 0)[0]
        client.session_id, client.password = answer.session_id, answer.passwd or b""
        return client

    def stranger(self) -> Client:
        """A client that has said nothing yet."""
        client = Client(self.port)
        client.sock.settimeout(1)
        return client

    def connection(self, client: Client) -> Connection:
        """The server's side of a client."""
        (found,) = [one for one in self.keeper.connections if one.address == client.address]
        return found

    def link(self, client: Client) -> Link:
        """The hub's side of a client."""
        link = self.connection(client).link
        assert isinstance(link, Link)
        return link

    def is_hung_up(self, client: Client) -> bool:
        """Has the server closed this client's connection, with nothing more to read?"""
        self.turns()
        client.sock.settimeout(0.05)
        try:
            return client.sock.recv(1 << 16) == b""
        except TimeoutError:
            return False

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.hub.close()
