"""Replica: one Peer and one Keeper, joined. The one object that both worlds drive, the real one and the simulated.

    client bytes ─→ Keeper ─ proposals ─→ Peer ─ Ready.append ─→ (the driver's log) ─ synced ─→ Peer
                      ↑                                                                       │
                      └───────────────────────── Ready.committed ────────────────────────────┘

A turn: `begin`, then any number of `received`, `opened`, `closed`; `wake` when `deadline_ms` has come; then `ready`
until it is empty, carrying out each Ready in its order and reporting `synced`.
"""

from zkpy.keeper.connection import Connection
from zkpy.keeper.keeper import Keeper
from zkpy.zab.peer import Peer
from zkpy.zab.ready import Ready


class Replica:
    """One server's whole decision-making. It never waits, opens, reads a clock or rolls dice."""

    __slots__ = ("keeper", "peer")

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.peer = Peer.standalone(keeper.tree.last_zxid)

    def begin(self, now_ms: int, wall_ms: int) -> None:
        """A turn begins at these times (see `Keeper.begin`)."""
        self.keeper.begin(now_ms, wall_ms)
        self.peer.begin(now_ms)

    def opened(self, ip: str, address: str) -> Connection:
        """A client has connected."""
        return self.keeper.opened(ip, address)

    def closed(self, connection: Connection) -> None:
        """A client's connection is gone."""
        self.keeper.closed(connection)

    def received(self, connection: Connection, data: bytes) -> None:
        """A client has sent bytes."""
        self.keeper.received(connection, data)

    def resume(self, connection: Connection) -> None:
        """All that was ready for a client has been sent."""
        self.keeper.resume(connection)

    def wake(self) -> None:
        """Do what is due."""
        self.keeper.wake()

    def deadline_ms(self) -> int | None:
        """When to `wake`, None for never."""
        return self.keeper.deadline_ms()

    def ready(self) -> Ready:
        """What the driver must do now. What is committed has been applied and answered when this returns."""
        keeper = self.keeper
        proposals = keeper.proposals
        if proposals:
            keeper.proposals = []
            self.peer.propose(proposals)
        ready = self.peer.ready()
        if ready.committed:
            keeper.committed(ready.committed)
        return ready

    def synced(self, token: int) -> None:
        """The batch of `token` is on disk."""
        self.peer.synced(token)
