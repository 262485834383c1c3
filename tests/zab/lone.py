"""One Peer alone with the test, which plays the network, the disk and the clock."""

from __future__ import annotations

from typing import Any

from zkpy.proto import packets
from zkpy.proto.notification import LOOKING, Notification
from zkpy.proto.packets import PacketStream, encode
from zkpy.proto.records import QuorumPacket
from zkpy.zab.history import Entry
from zkpy.zab.peer import Peer
from zkpy.zab.quorum import Ensemble, Majority
from zkpy.zab.ready import Ready, Standing
from zkpy.zab.settings import Settings

TEXT = b"version=0"


class Lone:
    """Server `sid` of three voters (and observer 4), with what it has said and done since the last look."""

    def __init__(
        self,
        sid: int = 1,
        *,
        epochs: tuple[int, int] = (0, 0),
        last: int = 0,
        tail: list[Entry] | None = None,
        voters: int = 3,
        quorum: Any = None,
        **settings: Any,
    ) -> None:
        ensemble = Ensemble(quorum or Majority(range(1, voters + 1)), frozenset([4]), TEXT)
        self.now = 1000
        self.peer = Peer.member(Settings(sid, tick_ms=100, **settings), ensemble, epochs, last, tail or [], self.now)
        #: Disk work that is not reported durable yet.
        self.disk: list[Ready] = []
        self.said: list[tuple[int, QuorumPacket]] = []
        self.told: list[tuple[int, Notification]] = []
        self.committed: list[int] = []
        self.standings: list[Standing] = []
        self.readies: list[Ready] = []
        #: Whether its disk can cut the history; None if it does not say yet.
        self.can_cut: bool | None = True
        self.take()

    # --- what it does

    def take(self) -> None:
        """Carry out all that is ready, but for the disk."""
        while ready := self.peer.ready():
            self.readies.append(ready)
            if ready.standing is not None:
                self.standings.append(ready.standing)
            if ready.has_disk_work:
                self.disk.append(ready)
            self.committed += [zxid for zxid, _ in ready.committed]
            for link, data in [*ready.snaps, *ready.send]:
                self.said += [(link, packet) for packet in PacketStream().feed(data)]
            self.told += [(sid, Notification.decode(message)) for sid, message in ready.notify]
            for link, _ in ready.cuts:
                if self.can_cut is not None:
                    self.peer.can_cut(link, self.can_cut)
        self.peer.history.check()

    def sync(self) -> None:
        """All disk work is done."""
        while self.disk:
            token = self.disk.pop(0).token
            self.peer.synced(token)
            self.take()

    def heard(self, link: int | None = None) -> list[str]:
        """The packets it has sent (on this link) since the last look, as `NAME zxid`."""
        found = [packet for to, packet in self.said if link in (None, to)]
        self.said = [(to, packet) for to, packet in self.said if link not in (None, to)]
        return [f"{packets.NAMES[packet.type]} {packet.zxid:#x}" for packet in found]

    def last_told(self) -> list[tuple[int, Notification]]:
        """The notifications it has sent since the last look."""
        told, self.told = self.told, []
        return told

    def readied(self, field: str) -> list[Any]:
        """All that a field of the Readies has held so far, in order."""
        found: list[Any] = []
        for ready in self.readies:
            value = getattr(ready, field)
            if isinstance(value, list):
                found += value
            elif value:
                found.append(value)
        return found

    @property
    def standing(self) -> Standing:
        return self.standings[-1]

    # --- what happens to it

    def wait(self, duration_ms: int) -> None:
        """Let time pass, waking it whenever it asks for that."""
        until = self.now + duration_ms
        while True:
            deadline = self.peer.deadline_ms()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.peer.begin(self.now)
            self.peer.wake()
            self.take()
        self.now = until
        self.peer.begin(until)

    def notify(self, sid: int, leader: int, zxid: int = 0, **more: Any) -> None:
        """A notification comes; by default of this round, from a looking server."""
        round_ = more.get("round", self.peer.round)
        notification = Notification(more.get("state", LOOKING), leader, zxid, round_, more.get("epoch", 0), TEXT)
        self.peer.notified(sid, notification.encode())
        self.take()

    def unreachable(self, sid: int) -> None:
        """Its election port refuses."""
        self.peer.unreachable(sid)
        self.take()

    def link(self, number: int, sid: int | None = None) -> None:
        self.peer.link_up(number, sid)
        self.take()

    def receive(self, link: int, *received: tuple[int, int] | tuple[int, int, bytes]) -> None:
        """Packets come, (type, zxid) or (type, zxid, data) each, in one read."""
        found = PacketStream().feed(b"".join([encode(*packet) for packet in received]))
        self.peer.receive(link, found)
        self.take()

    def elect(self, leader: int) -> None:
        """Make it lead, or follow: a quorum with the same vote."""
        history, epoch = self.peer.history.proposed, self.peer.current_epoch
        other = 2 if self.peer.settings.sid != 2 else 1
        self.notify(other, leader, history + (leader != self.peer.settings.sid), epoch=epoch)
        self.wait(200)
        assert self.standing.leader == leader
