"""Leading: one reign, from the election that won it to the moment the quorum is lost.

    DISCOVERY        a quorum has said which epochs it accepted ─→ a greater one, on disk ─→ LEADERINFO
    PROMISE          a quorum has acknowledged that epoch (ACKEPOCH) ─→ it is current
    SYNCHRONIZATION  a quorum has this leader's history (ACK of NEWLEADER) ─→ that history is committed; serve
    BROADCAST        proposals, acks, commits; pings; and a look at the quorum once a tick

Laws: a learner gets LEADERINFO only when acceptedEpoch is on this disk, and this server counts itself among those that
have its history only when currentEpoch is. A txn is committed when a quorum has synced it and all before it. What a
learner is sent is one stream: its history, NEWLEADER, then what is proposed and committed from there on.
While one write follows the other, a commit that nobody waits for goes with the next proposal.
Sources: Leader, LearnerHandler.
"""

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

from zkpy.proto import packets
from zkpy.proto.errors import ProtocolError
from zkpy.proto.notification import LEADING, LOOKING, Notification
from zkpy.proto.packets import PROTOCOL_VERSION, encode
from zkpy.proto.records import QuorumPacket
from zkpy.proto.zxid import COUNTER_MAX, EPOCH_MAX, counter_of, epoch_of, make_zxid, zxid_text
from zkpy.zab.history import Entry
from zkpy.zab.progress import (
    ACTIVE,
    CONNECTED,
    INFORMED,
    OFFERED,
    PROMISED,
    READING,
    SYNCED,
    SYNCING,
    Progress,
)
from zkpy.zab.ready import OWN, LearnerRequest
from zkpy.zab.role import Role
from zkpy.zab.synchronizer import Synchronizer

if TYPE_CHECKING:
    from zkpy.zab.peer import Peer

# Phases of a reign.
DISCOVERY: Final = 0
PROMISE: Final = 1
SYNCHRONIZATION: Final = 2
BROADCAST: Final = 3

#: So soon after a commit the next proposal is expected, if it was so the last time.
BRISK_MS: Final = 1

_INT: Final = Struct(">i")

#: Phases in which a learner is expected to say something; in the others it waits for this server.
_TALKING: Final = frozenset((CONNECTED, OFFERED, SYNCING, ACTIVE))


class Leading(Role):
    """The leader, of the epoch that the quorum of its learners makes."""

    __slots__ = (
        "_committed_ms",
        "_half_tick_ms",
        "_has_acks",
        "_is_brisk",
        "_is_full_tick",
        "_limit_ms",
        "_summary",
        "_synchronizer",
        "_syncs",
        "_tick",
        "_token",
        "base",
        "connecting",
        "epoch",
        "learners",
        "phase",
        "promised",
    )

    def __init__(self, peer: "Peer") -> None:
        super().__init__(peer)
        me = peer.settings.sid
        self.phase = DISCOVERY
        self.epoch = max(peer.accepted_epoch, peer.rumoured_epoch) + 1
        #: The end of the history that this reign begins with.
        self.base = peer.history.proposed
        self._summary = (peer.current_epoch, self.base)
        #: Voters that have said which epoch they accepted; and that have acknowledged this one.
        self.connecting: set[int] = {me}
        self.promised: set[int] = {me}
        self.learners: dict[int, Progress] = {}
        # The Ready that makes currentEpoch durable; 0 until there is one.
        self._token = 0
        # Client syncs that wait, as (the zxid they wait for, link).
        self._syncs: deque[tuple[int, int]] = deque()
        self._synchronizer = Synchronizer(self)
        self._has_acks = False
        # When the last commit was, and whether the last proposal came soon after one.
        self._committed_ms = 0
        self._is_brisk = False
        self._tick = 0
        self._is_full_tick = False
        self._half_tick_ms = peer.now_ms + peer.settings.tick_ms // 2
        #: When this phase must be over.
        self._limit_ms = peer.now_ms + peer.settings.init_ms

    def enter(self) -> None:
        self._check_epoch()

    def leave(self) -> None:
        self.peer.out.close += self.learners

    # --- time ----------------------------------------------------------------------------------------------------

    def deadline_ms(self) -> int:
        return self._half_tick_ms if self.phase == BROADCAST else min(self._half_tick_ms, self._limit_ms)

    def wake(self) -> None:
        peer = self.peer
        if self.phase != BROADCAST and peer.now_ms >= self._limit_ms:
            waited_for = ("an epoch", "the promise of its epoch", "its history")[self.phase]
            peer.become_looking(f"no quorum for {waited_for} in {peer.settings.init_ms} ms")
            return
        if peer.now_ms < self._half_tick_ms:
            return
        self._half_tick_ms = peer.now_ms + peer.settings.tick_ms // 2
        self._end_silent()
        if self.phase != BROADCAST:
            return
        if self._is_full_tick:
            self._tick += 1
            synced = [learner.sid for learner in self.learners.values() if learner.deadline_tick >= self._tick]
            synced.append(peer.settings.sid)
            if not peer.has_quorum(synced):
                peer.become_looking(f"no quorum of learners is heard of: {sorted(synced)}")
                return
        self._is_full_tick = not self._is_full_tick
        ping = encode(packets.PING, max(peer.history.proposed, make_zxid(self.epoch, 0)))
        for learner in self.learners.values():
            if learner.phase >= SYNCING:
                peer.out.send.append((learner.link, ping))

    def _end_silent(self) -> None:
        """End the links of learners that say nothing, or acknowledge nothing, for too long."""
        settings = self.peer.settings
        now_ms = self.peer.now_ms
        for learner in list(self.learners.values()):
            limit_ms = settings.init_ms if learner.phase < SYNCED else settings.sync_ms
            if learner.phase in _TALKING and not learner.is_snapping and now_ms - learner.heard_ms > limit_ms:
                self.end(learner, f"silent for {now_ms - learner.heard_ms} ms")
            elif learner.phase >= SYNCED and learner.is_late(now_ms, settings.sync_ms):
                self.end(learner, "too slow to acknowledge proposals")

    # --- links ---------------------------------------------------------------------------------------------------

    def link_up(self, link: int, sid: int | None) -> None:
        settings = self.peer.settings
        if sid is not None:
            self.peer.out.close.append(link)
            return
        grace = self._tick + settings.init_limit + settings.sync_limit
        self.learners[link] = Progress(link, self.peer.now_ms, grace)

    def link_down(self, link: int) -> None:
        learner = self.learners.pop(link, None)
        if learner is not None:
            self.peer.note("info", "a learner is gone", sid=learner.sid)

    def heard(self, link: int) -> None:
        learner = self.learners.get(link)
        if learner is not None:
            learner.heard_ms = self.peer.now_ms

    def snap_sent(self, link: int) -> None:
        learner = self.learners.get(link)
        if learner is not None:
            learner.is_snapping = False
            learner.heard_ms = self.peer.now_ms

    def receive(self, link: int, received: list[QuorumPacket]) -> None:
        learner = self.learners.get(link)
        if learner is None:
            return
        learner.heard_ms = self.peer.now_ms
        learner.deadline_tick = max(learner.deadline_tick, self._tick + self.peer.settings.sync_limit)
        for packet in received:
            found = _HANDLERS.get(packet.type)
            try:
                if found is None or learner.phase not in found[1]:
                    raise ProtocolError(f"{_name(packet)} in phase {learner.phase}")
                found[0](self, learner, packet)
            except ProtocolError as error:
                self.end(learner, str(error))
            if self.peer.role is not self or link not in self.learners:
                return
        if self._has_acks:
            self._has_acks = False
            self._commit_acked()

    def end(self, learner: Progress, why: str) -> None:
        """End the link to a learner."""
        del self.learners[learner.link]
        self.peer.out.close.append(learner.link)
        self.peer.note("warning", "link to a learner ended", sid=learner.sid, why=why)

    # --- discovery -----------------------------------------------------------------------------------------------

    def on_info(self, learner: Progress, packet: QuorumPacket) -> None:
        """FOLLOWERINFO or OBSERVERINFO: who it is, and which epoch it has accepted."""
        data = packet.data
        if data is None or len(data) < packets.LEARNER_INFO.size:
            raise ProtocolError("a learner of a version before 3.5")
        sid, version, config_version = packets.LEARNER_INFO.unpack_from(data)
        if version < PROTOCOL_VERSION:
            raise ProtocolError(f"a learner of protocol version {version:#x}")
        if sid == self.peer.settings.sid:
            raise ProtocolError(f"a learner with this server's own sid, {sid}")
        accepted = epoch_of(packet.zxid)
        if not 0 <= accepted < EPOCH_MAX:
            raise ProtocolError(f"a learner that has accepted the epoch {accepted:#x}")
        if config_version > self.peer.ensemble.version:
            raise ProtocolError(f"the learner {sid} has a later configuration, {config_version:#x}")
        for other in list(self.learners.values()):
            if other.sid == sid and other.phase > CONNECTED:
                self.end(other, "it has connected anew")
        learner.sid = sid
        learner.is_observer = packet.type == packets.OBSERVERINFO
        learner.phase = INFORMED
        if self.phase == DISCOVERY:
            self.epoch = max(self.epoch, accepted + 1)
            if self.peer.ensemble.has_voter(sid):
                self.connecting.add(sid)
                self._check_epoch()
        elif accepted > self.epoch and self.peer.ensemble.has_voter(sid):
            # It has promised an epoch whose leader lost, and may not follow this one. In Apache's ensembles it stays
            # outside until the next election, one server less for the quorum; here that election comes now.
            self.peer.rumoured_epoch = max(self.peer.rumoured_epoch, accepted)
            self.peer.become_looking(f"the voter {sid} has accepted the epoch {accepted:#x}, after {self.epoch:#x}")
        else:
            self._offer(learner)

    def _check_epoch(self) -> None:
        if self.phase == DISCOVERY and self.peer.has_quorum(self.connecting):
            self._enter_phase(PROMISE)
            self.peer.accept_epoch(self.epoch)
            for learner in self.learners.values():
                if learner.phase == INFORMED:
                    self._offer(learner)
            self._check_promise()

    def _offer(self, learner: Progress) -> None:
        learner.phase = OFFERED
        leader_info = encode(packets.LEADERINFO, make_zxid(self.epoch, 0), _INT.pack(PROTOCOL_VERSION))
        self.peer.hold(learner.link, leader_info)

    def on_ack_epoch(self, learner: Progress, packet: QuorumPacket) -> None:
        """ACKEPOCH: it will not follow an older leader any more; and this is how far its history goes."""
        if packet.data is None or len(packet.data) < 4:
            raise ProtocolError("ACKEPOCH without an epoch")
        current_epoch: int = _INT.unpack_from(packet.data)[0]
        learner.ack_epoch_zxid = packet.zxid
        if self.phase != PROMISE:
            self._synchronizer.begin(learner)
            return
        if current_epoch != -1:
            if (current_epoch, packet.zxid) > self._summary:
                raise ProtocolError(
                    f"the learner is ahead of its leader: epoch {current_epoch:#x}, {zxid_text(packet.zxid)}"
                )
            if packet.zxid != -1 and self.peer.ensemble.has_voter(learner.sid):
                self.promised.add(learner.sid)
        learner.phase = PROMISED
        self._check_promise()

    def _check_promise(self) -> None:
        if self.phase == PROMISE and self.peer.has_quorum(self.promised):
            self._enter_phase(SYNCHRONIZATION)
            self._token = self.peer.enter_epoch(self.epoch)
            for learner in self.learners.values():
                if learner.phase == PROMISED:
                    self._synchronizer.begin(learner)

    def _enter_phase(self, phase: int) -> None:
        self.phase = phase
        self._limit_ms = self.peer.now_ms + self.peer.settings.init_ms

    # --- synchronization -----------------------------------------------------------------------------------------

    @property
    def settled(self) -> int:
        """The last txn that learners get as committed: what this reign began with is, once a quorum has it."""
        return max(self.base, self.peer.history.committed)

    def log_read(self, link: int, entries: list[Entry] | None, is_end: bool) -> None:
        learner = self.learners.get(link)
        if learner is not None and learner.phase == READING:
            learner.heard_ms = self.peer.now_ms
            self._synchronizer.read(learner, entries, is_end)

    def on_ack(self, learner: Progress, packet: QuorumPacket) -> None:
        """ACK: of NEWLEADER, of UPTODATE (which says nothing new), or of a proposal."""
        zxid = packet.zxid
        if learner.phase == SYNCING and zxid == make_zxid(self.epoch, 0):
            learner.phase = SYNCED
            learner.is_snapping = False
            self.peer.note(
                "info",
                "learner brought up",
                sid=learner.sid,
                by=packets.NAMES[learner.way],
                txns=learner.sent_txns,
                txn_bytes=learner.sent_bytes,
                took_ms=self.peer.now_ms - learner.asked_ms,
            )
            if self.phase == BROADCAST:
                self._activate(learner)
            else:
                self._check_history()
            self._has_acks = True
        elif counter_of(zxid):
            # A follower of 3.8.0 may acknowledge proposals before NEWLEADER; they count from then on.
            if zxid > self.peer.history.proposed:
                raise ProtocolError(f"ACK of {zxid_text(zxid)}, which is not proposed")
            learner.ack(zxid)
            self._has_acks = True

    def _check_history(self) -> None:
        """Has a quorum this leader's history on disk, this server included?"""
        peer = self.peer
        if self.phase != SYNCHRONIZATION:
            return
        sids = [learner.sid for learner in self.learners.values() if learner.phase == SYNCED]
        if peer.synced_token >= self._token:
            sids.append(peer.settings.sid)
        if not peer.has_quorum(sids):
            return
        self.phase = BROADCAST
        peer.commit(self.base)
        peer.establish(LEADING, self.epoch, peer.settings.sid)
        self._half_tick_ms = peer.now_ms + peer.settings.tick_ms // 2
        for learner in self.learners.values():
            if learner.phase == SYNCED:
                self._activate(learner)

    def _activate(self, learner: Progress) -> None:
        learner.phase = ACTIVE
        learner.heard_ms = self.peer.now_ms
        self.peer.out.send.append((learner.link, encode(packets.UPTODATE, -1)))

    # --- broadcast -----------------------------------------------------------------------------------------------

    def propose(self, entries: list[Entry]) -> None:
        if self.phase != BROADCAST:
            return
        has_room = counter_of(entries[-1][0]) < COUNTER_MAX
        if not has_room:
            entries = [entry for entry in entries if counter_of(entry[0]) < COUNTER_MAX]
        if entries:
            assert epoch_of(entries[0][0]) == self.epoch, f"{entries[0][0]:#x} in the epoch {self.epoch:#x}"
            self._propose(entries)
        if not has_room:
            self.peer.become_looking("the zxids of this epoch are used up")

    def _propose(self, entries: list[Entry]) -> None:
        peer = self.peer
        now_ms = peer.now_ms
        peer.history.propose(entries)
        self._is_brisk = now_ms - self._committed_ms <= BRISK_MS
        if len(entries) == 1:
            data = encode(packets.PROPOSAL, *entries[0])
        else:
            data = b"".join([encode(packets.PROPOSAL, zxid, txn) for zxid, txn in entries])
        last = entries[-1][0]
        send = peer.out.send
        for learner in self.learners.values():
            if learner.has_asked:
                learner.awaits = last
                # Requests that the Keeper has not got yet are not among these.
                learner.has_asked = bool(peer.out.requests)
            if learner.phase >= SYNCING and not learner.is_observer:
                send.append((learner.link, data))
                learner.track(last, now_ms)

    def synced(self) -> None:
        if self.phase == BROADCAST:
            self._commit_acked()
        else:
            self._check_history()

    def _commit_acked(self) -> None:
        """Commit as far as a quorum has synced."""
        peer = self.peer
        if self.phase != BROADCAST:
            return
        history = peer.history
        committed = history.committed
        # Who has synced something that is not committed, and how far.
        reach = [
            (learner.acked, learner.sid)
            for learner in self.learners.values()
            if learner.acked > committed and learner.phase >= SYNCED
        ]
        if history.synced > committed:
            reach.append((history.synced, peer.settings.sid))
        reach.sort(reverse=True)
        sids = []
        for zxid, sid in reach:
            sids.append(sid)
            if peer.has_quorum(sids):
                self._commit(zxid)
                return

    def _commit(self, zxid: int) -> None:
        """Tell the learners of a commit; at once where somebody waits for it, else perhaps with the next proposal.

        While one write follows the other, that halves how often a learner is woken.
        """
        peer = self.peer
        out = peer.out
        before = peer.history.committed
        committed = peer.commit(zxid)
        self._committed_ms = peer.now_ms
        commits = informs = b""
        for learner in self.learners.values():
            if learner.phase < SYNCING:
                continue
            if learner.is_observer:
                informs = informs or b"".join([encode(packets.INFORM, one, txn) for one, txn in committed])
                word = (learner.link, informs)
            else:
                commits = commits or b"".join([encode(packets.COMMIT, one) for one, _ in committed])
                word = (learner.link, commits)
            out.send.append(word)
            if self._is_brisk and learner.awaits <= before and not learner.has_asked:
                out.patient.append(word)
        while self._syncs and self._syncs[0][0] <= zxid:
            self._answer_sync(self._syncs.popleft()[1])

    def sync(self, link: int) -> None:
        history = self.peer.history
        if history.proposed > history.committed:
            self._syncs.append((history.proposed, link))
        else:
            self._answer_sync(link)

    @property
    def pending_syncs(self) -> int:
        """How many client syncs wait for a commit."""
        return len(self._syncs)

    def _answer_sync(self, link: int) -> None:
        if link == OWN:
            self.peer.out.syncs += 1
        else:
            self.peer.out.send.append((link, encode(packets.SYNC, 0)))

    # --- sessions ------------------------------------------------------------------------------------------------

    def on_request(self, learner: Progress, packet: QuorumPacket) -> None:
        """REQUEST: a learner's client wants something written, or synced."""
        data = packet.data
        if data is None or len(data) < packets.FORWARDED.size:
            raise ProtocolError("REQUEST without a header")
        session_id, cxid, type_ = packets.FORWARDED.unpack_from(data)
        learner.has_asked = True
        self.peer.out.requests.append(
            LearnerRequest(learner.link, session_id, cxid, type_, data[packets.FORWARDED.size :], packet.authinfo)
        )

    def on_ping(self, learner: Progress, packet: QuorumPacket) -> None:
        """PING: the answer to ours, with the sessions that the learner has heard of."""
        data = packet.data or b""
        if len(data) % packets.SESSION_TIMEOUT.size:
            raise ProtocolError(f"PING with {len(data)} bytes of sessions")
        self.peer.out.touches += packets.SESSION_TIMEOUT.iter_unpack(data)

    def on_revalidate(self, learner: Progress, packet: QuorumPacket) -> None:
        """REVALIDATE: a client has come to a learner with a session of ours."""
        if packet.data is None or len(packet.data) < packets.SESSION_TIMEOUT.size:
            raise ProtocolError("REVALIDATE without a session")
        session_id, timeout_ms = packets.SESSION_TIMEOUT.unpack_from(packet.data)
        self.peer.out.revalidations.append((learner.link, session_id, timeout_ms))

    def revalidated(self, link: int, session_id: int, is_valid: bool) -> None:
        self.peer.out.send.append(
            (link, encode(packets.REVALIDATE, -1, packets.SESSION_VALIDITY.pack(session_id, is_valid)))
        )

    # --- others --------------------------------------------------------------------------------------------------

    def notified(self, sid: int, notification: Notification) -> None:
        peer = self.peer
        peer.answer_looking(sid, notification)
        wait_ms = peer.settings.max_epoch_wait_ms
        if notification.state == LOOKING and self.phase == DISCOVERY and wait_ms >= 0:
            waited_ms = peer.now_ms - (self._limit_ms - peer.settings.init_ms)
            if waited_ms > wait_ms:
                peer.become_looking(f"the voter {sid} has changed its mind")

    def resign(self, why: str) -> None:
        self.peer.become_looking(why)


def _name(packet: QuorumPacket) -> str:
    return packets.NAMES.get(packet.type, f"packet type {packet.type}")


#: Packet type → its handler, and the phases of a learner in which it may come.
_HANDLERS: Final = {
    packets.FOLLOWERINFO: (Leading.on_info, (CONNECTED,)),
    packets.OBSERVERINFO: (Leading.on_info, (CONNECTED,)),
    packets.ACKEPOCH: (Leading.on_ack_epoch, (OFFERED,)),
    packets.ACK: (Leading.on_ack, (SYNCING, SYNCED, ACTIVE)),
    packets.REQUEST: (Leading.on_request, (ACTIVE,)),
    packets.PING: (Leading.on_ping, (ACTIVE,)),
    packets.REVALIDATE: (Leading.on_revalidate, (ACTIVE,)),
}
