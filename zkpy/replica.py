"""Replica: one Peer and one Keeper, joined. The one object that both worlds drive, the real one and the simulated.

    client bytes ─→ Keeper ─ proposals ─→ Peer ─ Ready.append ─→ (the driver's log) ─ synced ─→ Peer
                      ↑ │                 ↑ │                                                    │
                      │ └ forwards, syncs ┘ └ send ─→ (links) ─→ the other members ─→ receive ───┤
                      └─ standing, committed, requests, syncs ───────────────────────────────────┘

A turn: `begin`, then any number of inputs; `wake` when `deadline_ms` has come; then `ready` until it is empty, carrying
out each Ready in its order and reporting `synced`. What a Ready has for the Keeper is done when `ready` returns, so the
driver carries out the rest: disk, wire, and `install` where the disk work has given it another tree.
"""

from zkpy.keeper.auth import Identities
from zkpy.keeper.connection import Connection
from zkpy.keeper.keeper import Keeper
from zkpy.keeper.member import Membership
from zkpy.keeper.standing import install, stand
from zkpy.proto.notification import LOOKING
from zkpy.proto.records import Id, QuorumPacket
from zkpy.tree.datatree import DataTree
from zkpy.zab.leading import Leading
from zkpy.zab.peer import Peer
from zkpy.zab.progress import SYNCING
from zkpy.zab.ready import Entry, Ready


class Replica:
    """One server's whole decision-making. It never waits, opens, reads a clock or rolls dice."""

    __slots__ = ("_is_member", "keeper", "peer")

    def __init__(self, keeper: Keeper, peer: Peer | None = None) -> None:
        """Serve alone, or as the member of an ensemble that `peer` (see `Peer.member`) is."""
        self.keeper = keeper
        self._is_member = peer is not None
        self.peer = Peer.standalone(keeper.tree.last_zxid) if peer is None else peer
        if self._is_member:
            keeper.membership = self.membership
            stand(keeper, LOOKING, False, 0)
        else:
            keeper.tree.is_fuzzy = False  # nobody has more than this disk

    def begin(self, now_ms: int, wall_ms: int) -> None:
        """A turn begins at these times (see `Keeper.begin`)."""
        self.keeper.begin(now_ms, wall_ms)
        self.peer.begin(now_ms)

    def wake(self) -> None:
        """Do what is due."""
        self.keeper.wake()
        self.peer.wake()

    def deadline_ms(self) -> int | None:
        """When to `wake`, None for never."""
        deadline_ms = self.keeper.deadline_ms()
        peers_ms = self.peer.deadline_ms()
        if deadline_ms is None or (peers_ms is not None and peers_ms < deadline_ms):
            return peers_ms
        return deadline_ms

    # --- clients -------------------------------------------------------------------------------------------------

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

    # --- the disk ------------------------------------------------------------------------------------------------

    def synced(self, token: int) -> None:
        """All disk work up to the Ready of `token` is durable."""
        self.peer.synced(token)

    def install(self, tree: DataTree) -> None:
        """`Ready.restore` or `Ready.truncate` has led to another tree; to be said before that Ready is `synced`."""
        install(self.keeper, tree)

    def log_read(self, link: int, entries: list[Entry] | None, is_end: bool) -> None:
        """The answer to one of `Ready.reads` (see `Peer.log_read`)."""
        self.peer.log_read(link, entries, is_end)

    def can_cut(self, link: int, is_possible: bool) -> None:
        """The answer to one of `Ready.cuts` (see `Peer.can_cut`)."""
        self.peer.can_cut(link, is_possible)

    # --- the other members (see `Peer`) --------------------------------------------------------------------------

    def notified(self, sid: int, message: bytes) -> None:
        """A message of the election port."""
        self.peer.notified(sid, message)

    def unreachable(self, sid: int) -> None:
        """The election port of this peer cannot be reached."""
        self.peer.unreachable(sid)

    def link_up(self, link: int, sid: int | None) -> None:
        """A link of the quorum port stands."""
        self.peer.link_up(link, sid)

    def link_down(self, link: int) -> None:
        """A link has ended."""
        self.peer.link_down(link)

    def dial_failed(self, sid: int) -> None:
        """No link could be made."""
        self.peer.dial_failed(sid)

    def receive(self, link: int, packets: list[QuorumPacket]) -> None:
        """Packets have come."""
        self.peer.receive(link, packets)

    def receive_snap(self, link: int, packet: QuorumPacket, snapshot: object) -> None:
        """A SNAP packet has come, and the stream after it."""
        self.peer.receive_snap(link, packet, snapshot)

    def heard(self, link: int) -> None:
        """Part of a packet or stream has come."""
        self.peer.heard(link)

    def snap_sent(self, link: int) -> None:
        """The stream that `Ready.snaps` asked for has left."""
        self.peer.snap_sent(link)

    def resign(self, why: str) -> None:
        """This server cannot go on in its role."""
        self.peer.resign(why)

    def membership(self) -> Membership:
        """What the ensemble is like now, as far as this member knows."""
        peer = self.peer
        leader, voters = peer.standing.leader, peer.ensemble.quorum.voters
        role = peer.role
        if not isinstance(role, Leading):
            return Membership(leader, len(voters))
        synced = [learner for learner in role.learners.values() if learner.phase >= SYNCING]
        followers = [learner.sid for learner in synced if not learner.is_observer]
        return Membership(
            leader,
            len(voters),
            learners=len(role.learners),
            synced_followers=len(followers),
            synced_non_voting_followers=len([sid for sid in followers if sid not in voters]),
            synced_observers=len(synced) - len(followers),
            pending_syncs=role.pending_syncs,
            learner_sids=tuple(sorted(learner.sid for learner in synced)),
        )

    # --- what follows --------------------------------------------------------------------------------------------

    def ready(self) -> Ready:
        """What the driver must do now. What is committed has been applied and answered when this returns."""
        keeper = self.keeper
        proposals = keeper.proposals
        if proposals:
            keeper.proposals = []
            if keeper.leading is not None:
                keeper.leading.proposed([len(txn) for _, txn in proposals])
            self.peer.propose(proposals)
        if not self._is_member:
            ready = self.peer.ready()
            if ready.committed:
                keeper.committed(ready.committed)
            return ready
        self._tell_peer()
        ready = self.peer.ready()
        standing = ready.standing
        if standing is not None:
            stand(keeper, standing.role, standing.is_serving, standing.epoch)
        if ready.committed:
            keeper.committed(ready.committed)
        self._tell_keeper(ready)
        return ready

    def _tell_peer(self) -> None:
        """What the Keeper has for the other members. All that a sync has to wait for is proposed."""
        peer = self.peer
        leading, learning = self.keeper.leading, self.keeper.learning
        if leading is not None:
            if leading.syncs:
                for link in leading.syncs:
                    peer.sync(link)
                leading.syncs.clear()
            if leading.answers:
                for link, session_id, is_valid in leading.answers:
                    peer.revalidated(link, session_id, is_valid)
                leading.answers.clear()
        elif learning is not None:
            if learning.forwards:
                for session_id, cxid, type_, body, identities in learning.forwards:
                    peer.forward(session_id, cxid, type_, body, identities)
                learning.forwards.clear()
            if learning.questions:
                for session_id, timeout_ms in learning.questions:
                    peer.revalidate(session_id, timeout_ms)
                learning.questions.clear()

    def _tell_keeper(self, ready: Ready) -> None:
        """What other members have for the Keeper: always for the role that it has now."""
        leading, learning = self.keeper.leading, self.keeper.learning
        if leading is not None:
            ids: list[Id] | None = None
            identities: Identities = ()
            for request in ready.requests:
                if request.identities is not ids:
                    ids = request.identities
                    identities = tuple([(id_.scheme or "", id_.id or "") for id_ in ids or ()])
                leading.requested(
                    request.link, request.session_id, request.cxid, request.type, request.body, identities
                )
            if ready.touches:
                leading.touch(ready.touches)
            for link, session_id, timeout_ms in ready.revalidations:
                leading.revalidate(link, session_id, timeout_ms)
            if ready.syncs:
                leading.synced(ready.syncs)
        elif learning is not None:
            for session_id, is_valid in ready.revalidated:
                learning.revalidated(session_id, is_valid)
            if ready.syncs:
                learning.synced(ready.syncs)
            if ready.pinged:
                self.peer.pong(learning.take_touched())
