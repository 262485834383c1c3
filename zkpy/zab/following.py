"""Learning from a leader, as follower or as observer: one link, from the dial to its end.

    DIALING      a link to the leader that the election named
    REGISTERED   FOLLOWERINFO or OBSERVERINFO is sent ─→ LEADERINFO: acceptedEpoch on disk, then ACKEPOCH
    PROMISED     ACKEPOCH is sent, or will be ─→ DIFF, TRUNC or SNAP
    ASKING       TRUNC has come: can the disk do that? ─→ yes, or DIALING anew, to get SNAP; what comes meanwhile waits
    SYNCING      txns come, and are held ─→ NEWLEADER: all of it on disk, then currentEpoch, then ACK
    SYNCED       txns come, and are held ─→ UPTODATE: serve
    FOLLOWING    PROPOSAL ─→ log, sync, ACK; COMMIT ─→ apply; an observer gets INFORM, which is both

Laws: nothing of a synchronization touches the disk or the tree before NEWLEADER, so a link that ends before that leaves
no trace; and NEWLEADER is acknowledged only when the history and then currentEpoch are durable. What is held without
its commit at NEWLEADER is logged after UPTODATE, and acknowledged like any proposal. Source: Learner, Follower.

A history that cannot be cut is one that came as a snapshot and has more than the leader's, or one whose older files are
gone. Apache's server exits then, at every start. This one says ACKEPOCH as if it had no history at all, which makes no
promise and gets SNAP, from Apache's leaders too.
"""

from collections import deque
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Final

from zkpy.proto import packets
from zkpy.proto.errors import ProtocolError
from zkpy.proto.notification import OBSERVING, Notification
from zkpy.proto.packets import PROTOCOL_VERSION, encode
from zkpy.proto.records import Id, QuorumPacket
from zkpy.proto.zxid import EPOCH_MAX, epoch_of, make_zxid, zxid_text
from zkpy.zab.history import Entry
from zkpy.zab.role import Role

if TYPE_CHECKING:
    from zkpy.zab.peer import Peer

# Phases of a learner, as it sees itself.
DIALING: Final = 0
REGISTERED: Final = 1
PROMISED: Final = 2
ASKING: Final = 3
SYNCING: Final = 4
SYNCED: Final = 5
ACTIVE: Final = 6

#: The end of no history: who says this gets a snapshot.
NOWHERE: Final = -1

_INT: Final = Struct(">i")


class Learning(Role):
    """A follower's or an observer's part in one leader's reign."""

    __slots__ = (
        "_asked_ms",
        "_base",
        "_decided",
        "_heard_ms",
        "_held",
        "_identities",
        "_identities_bytes",
        "_is_cut",
        "_pinged_zxid",
        "_snapshot",
        "_start_ms",
        "_token",
        "_txn_bytes",
        "_txns",
        "_unacked",
        "_uncut_epoch",
        "_undecided",
        "_waiting",
        "_way",
        "epoch",
        "leader",
        "link",
        "phase",
        "reached",
    )

    def __init__(self, peer: "Peer", leader: int) -> None:
        super().__init__(peer)
        self.leader = leader
        self.link = 0
        self.phase = DIALING
        self.epoch = -1
        self._start_ms = self._heard_ms = peer.now_ms
        #: The last txn of the history as it will be, with all that is held.
        self.reached = peer.history.proposed
        # What NEWLEADER will make of the history: a snapshot in its place, or a cut, up to here, ...
        self._snapshot: object | None = None
        self._is_cut = False
        self._base = self.reached
        # ... and the txns that follow, of which the first so many are committed.
        self._held: list[Entry] = []
        self._decided = 0
        # How this server is brought up: by which packet, since when, and with how much beside a tree.
        self._way = packets.SNAP
        self._asked_ms = peer.now_ms
        self._txns = self._txn_bytes = 0
        # ASKING: what has come behind TRUNC.
        self._waiting: list[QuorumPacket] = []
        # The reign into which the history could not be cut: to its leader it does not exist.
        self._uncut_epoch = -1
        # The Ready that makes all of it durable, currentEpoch last.
        self._token = 0
        # ACTIVE: proposed here and not acknowledged yet; and not committed yet.
        self._unacked: deque[int] = deque()
        self._undecided: deque[int] = deque()
        self._pinged_zxid = 0
        # The identities that the last request had, and their bytes.
        self._identities: list[Id] | None = None
        self._identities_bytes = packets.encode_identities(None)

    @property
    def is_observer(self) -> bool:
        """Does this server only learn, without a vote?"""
        return self.peer.standing.role == OBSERVING

    def enter(self) -> None:
        self.peer.out.dial.append(self.leader)

    def leave(self) -> None:
        if self.link:
            self.peer.out.close.append(self.link)

    def resign(self, why: str) -> None:
        self.peer.become_looking(why)

    # --- time ----------------------------------------------------------------------------------------------------

    def deadline_ms(self) -> int:
        settings = self.peer.settings
        if self.phase == DIALING:
            return self._start_ms + settings.connect_ms
        return self._heard_ms + (settings.sync_ms if self.phase >= SYNCED else settings.init_ms)

    def wake(self) -> None:
        if self.peer.now_ms >= self.deadline_ms():
            self.peer.become_looking(
                f"no link to the leader {self.leader}"
                if self.phase == DIALING
                else f"the leader {self.leader} is silent for {self.peer.now_ms - self._heard_ms} ms"
            )

    # --- the link ------------------------------------------------------------------------------------------------

    def link_up(self, link: int, sid: int | None) -> None:
        peer = self.peer
        if self.phase != DIALING or sid != self.leader:
            peer.out.close.append(link)
            return
        self.link = link
        self.phase = REGISTERED
        self._heard_ms = peer.now_ms
        info = packets.LEARNER_INFO.pack(peer.settings.sid, PROTOCOL_VERSION, peer.ensemble.version)
        type_ = packets.OBSERVERINFO if self.is_observer else packets.FOLLOWERINFO
        self._send(encode(type_, make_zxid(peer.accepted_epoch, 0), info))

    def link_down(self, link: int) -> None:
        if link == self.link:
            self.link = 0
            self.peer.become_looking(f"the link to the leader {self.leader} has ended")

    def dial_failed(self, sid: int) -> None:
        if self.phase == DIALING and sid == self.leader:
            self.peer.become_looking(f"the leader {self.leader} cannot be reached")

    def heard(self, link: int) -> None:
        if link == self.link:
            self._heard_ms = self.peer.now_ms

    def receive(self, link: int, received: list[QuorumPacket]) -> None:
        if link != self.link:
            return
        self._heard_ms = self.peer.now_ms
        try:
            if self.phase == ACTIVE:
                self._follow(received)
            elif self.phase == ASKING:
                self._waiting += received
            else:
                self._learn(received)
        except ProtocolError as error:
            self.peer.become_looking(f"the leader {self.leader} broke the protocol: {error}")

    def receive_snap(self, link: int, packet: QuorumPacket, snapshot: object) -> None:
        if link != self.link:
            return
        self._heard_ms = self.peer.now_ms
        if self.phase != PROMISED or packet.zxid < 0:
            what = f"SNAP {zxid_text(packet.zxid)} in phase {self.phase}"
            self.peer.become_looking(f"the leader {self.leader} broke the protocol: {what}")
            return
        self._snapshot = snapshot
        self._way = packets.SNAP
        self._base = self.reached = packet.zxid
        self.phase = SYNCING

    def _send(self, data: bytes) -> None:
        self.peer.out.send.append((self.link, data))

    # --- up to UPTODATE ------------------------------------------------------------------------------------------

    def _learn(self, received: list[QuorumPacket]) -> None:
        for at, packet in enumerate(received):
            found = _HANDLERS.get(packet.type)
            if found is None or self.phase not in found[1]:
                raise ProtocolError(f"{_name(packet)} in phase {self.phase}")
            found[0](self, packet)
            if self.phase == ACTIVE:
                self._follow(received[at + 1 :])
                return
            if self.phase == ASKING:
                self._waiting = received[at + 1 :]
                return

    def on_leader_info(self, packet: QuorumPacket) -> None:
        """LEADERINFO: the epoch to come. Whoever acknowledges it follows no older leader any more."""
        peer = self.peer
        if packet.data is None or len(packet.data) < 4 or _INT.unpack_from(packet.data)[0] < PROTOCOL_VERSION:
            raise ProtocolError("LEADERINFO of an old protocol")
        self.epoch = epoch_of(packet.zxid)
        if self.epoch == EPOCH_MAX:
            raise ProtocolError("the last epoch of all, which no leader could follow")
        # What an observer has promised counts in no quorum, so it may go back on it: it could stay outside for ever.
        floor = peer.current_epoch if self.is_observer else peer.accepted_epoch
        if self.epoch < floor:
            raise ProtocolError(f"epoch {self.epoch:#x}, but {floor:#x} is accepted already")
        # An epoch that is accepted already may be followed, but was promised once: it must not count twice.
        current = peer.current_epoch if self.epoch > peer.accepted_epoch else -1
        if self.epoch > peer.accepted_epoch:
            peer.accept_epoch(self.epoch)
        last = NOWHERE if self.epoch == self._uncut_epoch else peer.history.proposed
        self._asked_ms = peer.now_ms
        peer.hold(self.link, encode(packets.ACKEPOCH, last, _INT.pack(current)))
        self.phase = PROMISED

    def on_diff(self, packet: QuorumPacket) -> None:
        """DIFF: this history goes on as the leader's does; its zxid says nothing to rely on."""
        self._expect_history(packet)
        self._way = packets.DIFF
        self.phase = SYNCING

    def on_trunc(self, packet: QuorumPacket) -> None:
        """TRUNC: the leader does not have what is behind this txn."""
        self._expect_history(packet)
        if not 0 <= packet.zxid < self.peer.history.proposed:
            raise ProtocolError(
                f"TRUNC to {zxid_text(packet.zxid)}, {zxid_text(self.peer.history.proposed)} is the last"
            )
        self._is_cut = True
        self._way = packets.TRUNC
        self._base = self.reached = packet.zxid
        self.peer.out.cuts.append((self.link, packet.zxid))
        self.phase = ASKING

    def can_cut(self, link: int, is_possible: bool) -> None:
        if link != self.link or self.phase != ASKING:
            return
        received, self._waiting = self._waiting, []
        if is_possible:
            self.phase = SYNCING
            self.receive(link, received)
            return
        peer = self.peer
        peer.note("warning", "history cannot be cut: asking for a snapshot", behind=zxid_text(self._base))
        self._uncut_epoch = self.epoch
        self._is_cut = False
        self._base = self.reached = peer.history.proposed
        peer.out.close.append(link)
        self.link = 0
        self.phase = DIALING
        self._start_ms = peer.now_ms
        peer.out.dial.append(self.leader)

    def _expect_history(self, packet: QuorumPacket) -> None:
        if self.epoch == self._uncut_epoch:
            raise ProtocolError(f"{_name(packet)} for a history that does not exist")

    def on_proposal(self, packet: QuorumPacket) -> None:
        """PROPOSAL before UPTODATE: held until its commit and NEWLEADER have come, or UPTODATE."""
        zxid = packet.zxid
        if zxid <= self._base:
            return  # a snapshot may be of a later moment than the one the leader began to queue at
        self._check_next(zxid)
        txn = packet.data or b""
        self._held.append((zxid, txn))
        self._txns += 1
        self._txn_bytes += len(txn)
        self.reached = zxid

    def on_commit(self, packet: QuorumPacket) -> None:
        """COMMIT before UPTODATE: of the oldest that is held without one."""
        zxid = packet.zxid
        if self._decided < len(self._held) and self._held[self._decided][0] == zxid:
            self._decided += 1
        elif zxid > self._base:
            raise ProtocolError(f"COMMIT of {zxid_text(zxid)}, which is not the next one")

    def on_inform(self, packet: QuorumPacket) -> None:
        """INFORM before UPTODATE: a proposal with its commit."""
        self.on_proposal(packet)
        self.on_commit(packet)

    def on_newleader(self, packet: QuorumPacket) -> None:
        """NEWLEADER: the history so far is the leader's; it becomes this server's, durably, and is acknowledged."""
        if packet.zxid != make_zxid(self.epoch, 0):
            raise ProtocolError(f"NEWLEADER {zxid_text(packet.zxid)} in the epoch {self.epoch:#x}")
        peer = self.peer
        history = peer.history
        peer.flush()
        out = peer.out
        if self._snapshot is not None:
            out.restore = self._snapshot
            history.restore(self._base)
        elif self._is_cut:
            out.truncate = self._base
            history.truncate(self._base)
        self._log(self._take_decided())
        peer.hold(self.link, encode(packets.ACK, packet.zxid))
        self._token = peer.enter_epoch(self.epoch)
        self.phase = SYNCED

    def on_uptodate(self, packet: QuorumPacket) -> None:
        """UPTODATE: a quorum has this history, so it is committed. Serve."""
        peer = self.peer
        if peer.synced_token < self._token:
            raise ProtocolError("UPTODATE before NEWLEADER is acknowledged")
        # Whoever serves has applied all that was committed when the leader said so.
        peer.commit(peer.history.proposed)
        held = self._held
        decided = self._decided
        self._held = []
        self._log(held)
        if not self.is_observer:
            self._unacked.extend([zxid for zxid, _ in held])
        self._undecided.extend([zxid for zxid, _ in held[decided:]])
        if decided:
            peer.commit(held[decided - 1][0])
        peer.establish(peer.standing.role, self.epoch, self.leader)
        peer.note(
            "info",
            "brought up by the leader",
            by=packets.NAMES[self._way],
            txns=self._txns,
            txn_bytes=self._txn_bytes,
            took_ms=peer.now_ms - self._asked_ms,
        )
        self._send(encode(packets.ACK, make_zxid(self.epoch, 0)))
        self.phase = ACTIVE

    def on_ignored(self, packet: QuorumPacket) -> None:
        """PING before UPTODATE: not answered."""

    def _check_next(self, zxid: int) -> None:
        if zxid != self.reached + 1 and epoch_of(zxid) <= epoch_of(self.reached):
            raise ProtocolError(f"{zxid_text(zxid)} after {zxid_text(self.reached)}: txns are missing")

    # --- after it ------------------------------------------------------------------------------------------------

    def _follow(self, received: list[QuorumPacket]) -> None:
        """Broadcast: a batch of packets makes one batch for the log and one for the tree."""
        entries: list[Entry] = []
        undecided = self._undecided
        committed = -1
        try:
            for packet in received:
                type_ = packet.type
                zxid = packet.zxid
                if type_ in (packets.PROPOSAL, packets.INFORM):
                    if (type_ == packets.INFORM) != self.is_observer:
                        raise ProtocolError(f"{_name(packet)} is not for this server")
                    self._check_next(zxid)
                    self.reached = zxid
                    entries.append((zxid, packet.data or b""))
                    if type_ == packets.INFORM:
                        committed = zxid
                    else:
                        undecided.append(zxid)
                elif type_ == packets.COMMIT:
                    if not undecided or undecided[0] != zxid:
                        raise ProtocolError(f"COMMIT of {zxid_text(zxid)}, which is not the next one")
                    committed = undecided.popleft()
                elif type_ == packets.PING:
                    self._pinged_zxid = zxid
                    self.peer.out.pinged = True
                elif type_ == packets.SYNC:
                    self.peer.out.syncs += 1
                elif type_ == packets.REVALIDATE:
                    self._on_revalidate(packet)
                else:
                    raise ProtocolError(f"{_name(packet)} in phase {self.phase}")
        finally:
            # What came before a wrong packet is as good as if that had never come.
            self._log(entries)
            if not self.is_observer:
                self._unacked.extend([zxid for zxid, _ in entries])
            if committed >= 0:
                self.peer.commit(committed)

    def _on_revalidate(self, packet: QuorumPacket) -> None:
        if packet.data is None or len(packet.data) < packets.SESSION_VALIDITY.size:
            raise ProtocolError("REVALIDATE without an answer")
        self.peer.out.revalidated.append(packets.SESSION_VALIDITY.unpack_from(packet.data))

    def synced(self) -> None:
        unacked = self._unacked
        synced = self.peer.history.synced
        acks = []
        while unacked and unacked[0] <= synced:
            acks.append(encode(packets.ACK, unacked.popleft()))
        if acks:
            self._send(b"".join(acks))

    # --- the Keeper ----------------------------------------------------------------------------------------------

    def forward(self, session_id: int, cxid: int, type_: int, body: bytes, identities: list[Id] | None) -> None:
        if self.phase == ACTIVE:
            if identities is not self._identities:
                self._identities = identities
                self._identities_bytes = packets.encode_identities(identities)
            self._send(packets.encode_request(session_id, cxid, type_, body, self._identities_bytes))

    def revalidate(self, session_id: int, timeout_ms: int) -> None:
        if self.phase == ACTIVE:
            self._send(encode(packets.REVALIDATE, -1, packets.SESSION_TIMEOUT.pack(session_id, timeout_ms)))

    def pong(self, touches: list[tuple[int, int]]) -> None:
        if self.phase == ACTIVE:
            data = b"".join(
                [packets.SESSION_TIMEOUT.pack(session_id, timeout_ms) for session_id, timeout_ms in touches]
            )
            self._send(encode(packets.PING, self._pinged_zxid, data))

    def notified(self, sid: int, notification: Notification) -> None:
        self.peer.answer_looking(sid, notification)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _take_decided(self) -> list[Entry]:
        held = self._held
        decided, self._held = held[: self._decided], held[self._decided :]
        self._decided = 0
        return decided

    def _log(self, entries: list[Entry]) -> None:
        """Add txns to the history, epoch by epoch."""
        propose = self.peer.history.propose
        at = 0
        while at < len(entries):
            end = at + 1
            epoch = epoch_of(entries[at][0])
            for zxid, _ in islice(entries, end, None):
                if epoch_of(zxid) != epoch:
                    break
                end += 1
            propose(entries[at:end])
            at = end


def _name(packet: QuorumPacket) -> str:
    return packets.NAMES.get(packet.type, f"packet type {packet.type}")


#: Packet type → its handler before UPTODATE, and the phases in which it may come.
_HANDLERS: Final = {
    packets.LEADERINFO: (Learning.on_leader_info, (REGISTERED,)),
    packets.DIFF: (Learning.on_diff, (PROMISED,)),
    packets.TRUNC: (Learning.on_trunc, (PROMISED,)),
    packets.PROPOSAL: (Learning.on_proposal, (SYNCING, SYNCED)),
    packets.COMMIT: (Learning.on_commit, (SYNCING, SYNCED)),
    packets.INFORM: (Learning.on_inform, (SYNCING, SYNCED)),
    packets.NEWLEADER: (Learning.on_newleader, (SYNCING,)),
    packets.UPTODATE: (Learning.on_uptodate, (SYNCED,)),
    packets.PING: (Learning.on_ignored, (SYNCING, SYNCED)),
}
