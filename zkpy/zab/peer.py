"""Peer: this server as a voter, the only door of the package. Words, time and finished syncs in; Readies out.

    begin(now) ─┬─ receive, link_up, notified, …   from the network        ┐
                ├─ synced, snap_sent, log_read     from the disk           ├─→ the role ─→ `out` ─→ ready()
                ├─ propose, forward, sync, …       from the Keeper         │
                └─ wake                            when `deadline_ms` is due ┘

Laws: no input is ever answered by a callback, only by the next Ready; the same inputs give the same Readies; what must
wait for the disk is held here until `synced`. Whoever drives it says `begin` first in every turn, and takes `ready`
until it is falsy.

The roles are classes (`Role`); `become` is the only way from one to the next. Words that come for a role that is over
are dropped, so the driver need not know about roles at all.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

from zkpy.proto.errors import ProtocolError
from zkpy.proto.notification import FOLLOWING, LEADING, LOOKING, OBSERVING, Notification
from zkpy.proto.records import Id, QuorumPacket
from zkpy.proto.zxid import epoch_of
from zkpy.zab.alone import Alone
from zkpy.zab.election import Looking
from zkpy.zab.following import Learning
from zkpy.zab.history import Entry, History
from zkpy.zab.leading import Leading
from zkpy.zab.quorum import Ensemble, Majority
from zkpy.zab.ready import Ready, Standing
from zkpy.zab.role import Role
from zkpy.zab.settings import Settings
from zkpy.zab.votes import Vote

#: Rounds are counted from 1; one that leaves no room to count on is nobody's.
ROUND_MAX: Final = 1 << 62

_ALONE: Final = Ensemble(Majority((1,)), frozenset(), b"")


class Batch:
    """A Ready's disk work on its way: up to where the history is durable after it, and what may be said then."""

    __slots__ = ("held", "reach", "reign", "token")

    def __init__(self, token: int, reign: int, reach: int, held: list[tuple[int, bytes]]) -> None:
        self.token = token
        #: Which version of the history `reach` belongs to: a truncation or a snapshot begins a new one.
        self.reign = reign
        self.reach = reach
        self.held = held


class Peer:
    """One member of an ensemble. Numbers of links are the driver's: positive, and never used twice."""

    __slots__ = (
        "_batches",
        "_readies",
        "_token",
        "accepted_epoch",
        "away",
        "current_epoch",
        "ensemble",
        "history",
        "now_ms",
        "out",
        "role",
        "round",
        "rumoured_epoch",
        "settings",
        "standing",
        "synced_token",
        "vote",
    )

    def __init__(
        self, settings: Settings, ensemble: Ensemble, epochs: tuple[int, int], history: History, now_ms: int
    ) -> None:
        """Use `standalone` or `member`."""
        self.settings: Final = settings
        self.ensemble: Final = ensemble
        self.history: Final = history
        self.now_ms = now_ms
        #: The greatest epoch that a leader was promised; and the one whose history this is. Both as the disk will have
        #: them; invariant: accepted ≥ current.
        self.accepted_epoch, self.current_epoch = epochs
        #: The greatest epoch that a voter was heard to have accepted too late: the next one must be greater. Kept in
        #: memory only, for it is not a promise.
        self.rumoured_epoch = 0
        #: Voters to whom no connection could be made when it was last tried, and who have not been heard of since.
        self.away: set[int] = set()
        #: The newest round of votes that is known of, and the vote that the last election ended with.
        self.round = 0
        self.vote = Vote(settings.sid, history.proposed, 0, self.current_epoch)
        #: What this server is in the ensemble now.
        self.standing = Standing(LEADING, True, epoch_of(history.proposed), settings.sid)
        self.role: Role = Alone(self)
        #: The Ready that is being put together.
        self.out = Ready()
        # those put together and not taken yet
        self._readies: deque[Ready] = deque()
        # disk work handed out and not reported durable yet, oldest first
        self._batches: deque[Batch] = deque()
        self._token = 0
        #: The newest token that `synced` has brought back.
        self.synced_token = 0

    @classmethod
    def standalone(cls, last_zxid: int) -> "Peer":
        """A quorum of one, from the zxid its disk ends with: it leads at once and for ever."""
        return cls(Settings(1), _ALONE, (0, 0), History(last_zxid), 0)

    @classmethod
    def member(
        cls,
        settings: Settings,
        ensemble: Ensemble,
        epochs: tuple[int, int],
        last_zxid: int,
        tail: list[Entry],
        now_ms: int,
    ) -> "Peer":
        """A member of an ensemble, looking for its leader.

        `epochs`: acceptedEpoch and currentEpoch as on disk; `last_zxid`: the last txn in the log, all of which the tree
        has applied; `tail`: the last txns of the log, as many as are at hand, without a gap (there may be none).
        """
        assert epochs[0] >= epochs[1], f"acceptedEpoch {epochs[0]} is less than currentEpoch {epochs[1]}"
        peer = cls(settings, ensemble, epochs, History(last_zxid, settings.commit_log_count, tail), now_ms)
        peer._become(Looking(peer, now_ms), Standing(LOOKING, False, peer.current_epoch, 0))
        return peer

    # --- the driver ----------------------------------------------------------------------------------------------

    def begin(self, now_ms: int) -> None:
        """A turn begins at this time, of a clock that only goes forward; it holds for all that follows."""
        self.now_ms = now_ms

    def deadline_ms(self) -> int | None:
        """When to `wake`, None for never."""
        return self.role.deadline_ms()

    def wake(self) -> None:
        """Do what is due. Too early or too often does no harm."""
        self.role.wake()

    def ready(self) -> Ready:
        """What is to be done now; falsy when there is nothing. Each Ready is given once, to be carried out whole."""
        if self._readies:
            ready = self._readies.popleft()
            ready.is_followed = True
            return ready
        out = self.out
        self._complete(out)
        if out:
            self.out = Ready()
        return out

    def synced(self, token: int) -> None:
        """All disk work up to the Ready of this token is durable."""
        assert token <= self._token, "synced before it was written"
        batches = self._batches
        history = self.history
        send = self.out.send
        while batches and batches[0].token <= token:
            batch = batches.popleft()
            if batch.reign == history.reign:
                history.sync(batch.reach)
            send += batch.held
        self.synced_token = max(self.synced_token, token)
        self.role.synced()

    # --- the election port ---------------------------------------------------------------------------------------

    def notified(self, sid: int, message: bytes) -> None:
        """A message of the election port has come from this peer; its length is taken off, all else unchecked."""
        self.away.discard(sid)
        try:
            notification = Notification.decode(message)
            if not 0 <= notification.election_epoch < ROUND_MAX:
                raise ProtocolError(f"a notification of round {notification.election_epoch:#x}")
        except ProtocolError as error:
            self.note("warning", "notification skipped", sid=sid, why=str(error))
            return
        if self.ensemble.has_voter(sid):
            self.role.notified(sid, notification)
        else:
            # It is not counted, but may learn whom to follow.
            vote = self.vote
            self.notify(sid, Vote(vote.leader, vote.zxid, self.round, vote.epoch))

    def unreachable(self, sid: int) -> None:
        """No connection could be made to the election port of this peer: its vote is not to be waited for."""
        self.away.add(sid)
        self.role.unreachable()

    # --- links: the quorum port ----------------------------------------------------------------------------------

    def link_up(self, link: int, sid: int | None) -> None:
        """A link stands: to `sid`, whom `Ready.dial` named, or (None) from a learner that has not said who it is."""
        self.role.link_up(link, sid)

    def link_down(self, link: int) -> None:
        """A link has ended without `Ready.close`: end of file, an error, bytes that are no packets."""
        self.role.link_down(link)

    def dial_failed(self, sid: int) -> None:
        """No link to `sid` could be made, in as many tries as the driver makes."""
        self.role.dial_failed(sid)

    def receive(self, link: int, packets: list[QuorumPacket]) -> None:
        """Packets have come, in order. Wrong ones end the link and leave a note; they never raise."""
        self.role.receive(link, packets)

    def receive_snap(self, link: int, packet: QuorumPacket, snapshot: object) -> None:
        """A SNAP packet has come and the whole stream after it, of which `snapshot` is the driver's own handle.

        `Ready.restore` gives it back. If the link ends before that, the snapshot is to be thrown away.
        """
        self.role.receive_snap(link, packet, snapshot)

    def heard(self, link: int) -> None:
        """Bytes have come that are not a whole packet or snapshot yet: the other side is not silent."""
        self.role.heard(link)

    def snap_sent(self, link: int) -> None:
        """The stream that `Ready.snaps` asked for has left: from now on its receiver is expected to answer."""
        self.role.snap_sent(link)

    # --- the log -------------------------------------------------------------------------------------------------

    def log_read(self, link: int, entries: list[Entry] | None, is_end: bool) -> None:
        """The answer to one of `Ready.reads`, which asked for (link, first, last).

        `entries` begin with the greatest zxid that is not above `first` and go on without a gap, not beyond `last`;
        they may stop early, to be asked again from there (`is_end` False). None if the log does not reach back to
        `first`, or if reading it would cost more than a snapshot (snapshotSizeFactor).
        """
        self.role.log_read(link, entries, is_end)

    def can_cut(self, link: int, is_possible: bool) -> None:
        """The answer to one of `Ready.cuts`: could `Ready.truncate` of this zxid be carried out?"""
        self.role.can_cut(link, is_possible)

    # --- the Keeper ----------------------------------------------------------------------------------------------

    def propose(self, entries: list[Entry]) -> None:
        """Leading: put txns to the vote, (zxid, txn) each; zxids come without holes."""
        self.role.propose(entries)

    def sync(self, link: int) -> None:
        """Leading: a client's sync, of this server (OWN) or of the learner at `link`; all before it is proposed."""
        self.role.sync(link)

    def revalidated(self, link: int, session_id: int, is_valid: bool) -> None:
        """Leading: the answer to one of `Ready.revalidations`."""
        self.role.revalidated(link, session_id, is_valid)

    def forward(self, session_id: int, cxid: int, type_: int, body: bytes, identities: list[Id] | None) -> None:
        """Learning: have the leader prepare this request of a client here."""
        self.role.forward(session_id, cxid, type_, body, identities)

    def revalidate(self, session_id: int, timeout_ms: int) -> None:
        """Learning: ask the leader whether this session is alive; a client here wants to continue it."""
        self.role.revalidate(session_id, timeout_ms)

    def pong(self, touches: list[tuple[int, int]]) -> None:
        """Learning: the answer to `Ready.pinged`: (session id, timeout) of all that was heard of since the last one."""
        self.role.pong(touches)

    def resign(self, why: str) -> None:
        """Leading or learning: this server cannot go on in its role (its quorum port cannot be bound, say)."""
        self.role.resign(why)

    # --- between roles -------------------------------------------------------------------------------------------

    def become_looking(self, why: str) -> None:
        """From leading or learning: the reign is over for this server."""
        assert not isinstance(self.role, Alone | Looking), f"looking again: {why}"
        self.note("info", "looking for a leader", why=why)
        rest_ms = self.settings.observer_rest_ms if self.standing.role == OBSERVING else 0
        self.role.leave()
        self._become(Looking(self, self.now_ms + rest_ms), Standing(LOOKING, False, self.current_epoch, 0))

    def become_leading(self, vote: Vote) -> None:
        """From looking: a quorum votes for this server."""
        assert isinstance(self.role, Looking)
        assert vote.leader == self.settings.sid
        self.role.leave()
        self.vote = vote
        self._become(Leading(self), Standing(LEADING, False, self.current_epoch, vote.leader))
        # Whoever voted so may wait for better votes; the word of the leader himself ends that.
        for sid in sorted(self.ensemble.quorum.voters):
            if sid != self.settings.sid:
                self.notify(sid, vote)

    def become_learning(self, vote: Vote) -> None:
        """From looking: a quorum votes for another server."""
        assert isinstance(self.role, Looking)
        assert vote.leader != self.settings.sid
        self.role.leave()
        self.vote = vote
        role = FOLLOWING if self.ensemble.has_voter(self.settings.sid) else OBSERVING
        self._become(Learning(self, vote.leader), Standing(role, False, self.current_epoch, vote.leader))

    def establish(self, role: int, epoch: int, leader: int) -> None:
        """The reign of `leader` has begun: this server serves clients in it."""
        assert not self.standing.is_serving
        # Servers that come late must hear the same epoch from all, or they never find a quorum for the leader.
        vote = self.vote
        self.vote = Vote(vote.leader, vote.zxid, vote.round, epoch)
        self._stand(Standing(role, True, epoch, leader))
        self.note("info", "serving", epoch=epoch, leader=leader)

    def _become(self, role: Role, standing: Standing) -> None:
        self.role = role
        self._stand(standing)
        role.enter()

    def _stand(self, standing: Standing) -> None:
        """A change of standing begins a Ready of its own."""
        self.flush()
        self.standing = self.out.standing = standing

    # --- for the roles -------------------------------------------------------------------------------------------

    def has_quorum(self, sids: Collection[int]) -> bool:
        """Are these enough?"""
        return self.ensemble.quorum.has_quorum(sids)

    def commit(self, zxid: int) -> list[Entry]:
        """Everything up to `zxid` is committed; what is newly so."""
        committed = self.history.commit(zxid)
        self.out.committed += committed
        return committed

    def hold(self, link: int, packet: bytes) -> None:
        """Send this when all that is decided so far is durable."""
        self.out.held.append((link, packet))

    def accept_epoch(self, epoch: int) -> None:
        """Follow no leader of an older epoch any more."""
        assert epoch > self.accepted_epoch, f"epoch {epoch} is accepted after {self.accepted_epoch}"
        self.accepted_epoch = epoch
        self.out.epochs = (epoch, self.current_epoch)

    def enter_epoch(self, epoch: int) -> int:
        """The history is that of this epoch's leader. The token of the Ready that makes it so on disk."""
        assert self.current_epoch <= epoch <= self.accepted_epoch
        self.current_epoch = epoch
        self.out.epochs = (self.accepted_epoch, epoch)
        return self.flush()

    def notify(self, sid: int, vote: Vote) -> None:
        """Tell this peer a vote, and what this server is."""
        notification = Notification(
            self.standing.role, vote.leader, vote.zxid, vote.round, vote.epoch, self.ensemble.text
        )
        self.out.notify.append((sid, notification.encode()))

    def answer_looking(self, sid: int, notification: Notification) -> None:
        """Leading or learning: tell a voter that looks for a leader who it is."""
        if notification.state == LOOKING:
            self.notify(sid, self.vote)

    def note(self, level: str, event: str, **fields: object) -> None:
        """Leave a line for the log."""
        self.out.notes.append((level, event, fields))

    def flush(self) -> int:
        """Close the Ready that is being put together and begin the next; its token, if it has work for the disk."""
        out = self.out
        self._complete(out)
        if out:
            self._readies.append(out)
            self.out = Ready()
        return out.token

    def _complete(self, out: Ready) -> None:
        """Give a Ready its token, if it has work for the disk; what it holds waits for that, or for earlier work."""
        out.append = self.history.take()
        if out.has_disk_work:
            self._token = out.token = self._token + 1
            self._batches.append(Batch(out.token, self.history.reign, self.history.taken, out.held))
        elif out.held:
            if self._batches:
                self._batches[-1].held += out.held
            else:
                out.send += out.held
            out.held = []
