"""Role: what every role answers to, and how one that does not care answers.

Words may come late: while a Ready is being carried out the role may change, and whoever was asked to read a log, to
send a snapshot or to prepare a request does not know yet. So a role that has no use for a word drops it; only a link
that nobody wants must be ended.
"""

from typing import TYPE_CHECKING

from zkpy.proto.notification import Notification
from zkpy.proto.records import Id, QuorumPacket
from zkpy.zab.ready import Entry

if TYPE_CHECKING:
    from zkpy.zab.peer import Peer


class Role:
    """One role of one server, from `Peer.become_*` to the next. See `Peer` for what each word means."""

    __slots__ = ("peer",)

    def __init__(self, peer: "Peer") -> None:
        self.peer = peer

    def enter(self) -> None:
        """The role begins; it is the peer's now."""

    def leave(self) -> None:
        """Another role follows: end what this one has begun."""

    def deadline_ms(self) -> int | None:
        return None

    def wake(self) -> None:
        pass

    def synced(self) -> None:
        """`history.synced` may have grown, and a batch that this role has waited for may be durable."""

    def notified(self, sid: int, notification: Notification) -> None:
        """A voter has sent this."""

    def unreachable(self) -> None:
        """`peer.away` has grown."""

    def link_up(self, link: int, sid: int | None) -> None:
        self.peer.out.close.append(link)

    def link_down(self, link: int) -> None:
        pass

    def dial_failed(self, sid: int) -> None:
        pass

    def receive(self, link: int, received: list[QuorumPacket]) -> None:
        pass

    def receive_snap(self, link: int, packet: QuorumPacket, snapshot: object) -> None:
        pass

    def heard(self, link: int) -> None:
        pass

    def snap_sent(self, link: int) -> None:
        pass

    def log_read(self, link: int, entries: list[Entry] | None, is_end: bool) -> None:
        pass

    def can_cut(self, link: int, is_possible: bool) -> None:
        pass

    def resign(self, why: str) -> None:
        pass

    def propose(self, entries: list[Entry]) -> None:
        pass

    def sync(self, link: int) -> None:
        pass

    def revalidated(self, link: int, session_id: int, is_valid: bool) -> None:
        pass

    def forward(self, session_id: int, cxid: int, type_: int, body: bytes, identities: list[Id] | None) -> None:
        pass

    def revalidate(self, session_id: int, timeout_ms: int) -> None:
        pass

    def pong(self, touches: list[tuple[int, int]]) -> None:
        pass
