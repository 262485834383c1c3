"""Ready: what the driver must do now. Its fields stand in the order in which they must be carried out.

     1 standing     where this server stands has changed: tell the Keeper, before anything else of this Ready
     2 restore      ┐ disk: replace the tree and the whole history by a snapshot that a leader sent,
     3 truncate     │       or cut the history (and the tree, if it is ahead) behind a zxid,
     4 append       │       or extend the history, and sync it;
     5 epochs       ┘       then the epoch files, for an epoch must not outrun its history → `Peer.synced(token)`
     6 committed    to apply to the tree, in zxid order
     7 snaps        ┐ wire: per link first these bytes and then the tree as it is now, as a stream → `Peer.snap_sent`
     8 send         │       then, or else, these bytes, in this order
     9 notify       ┘       election port: the newest word for a peer, which replaces an older one not sent yet
    10 dial, close    links to make → `Peer.link_up` or `Peer.dial_failed`; links to end
    11 reads          parts of the log to read for learners that are behind → `Peer.log_read`
       cuts           can the history be cut there? → `Peer.can_cut`
    12 requests, touches, revalidations, revalidated, syncs, pinged      for the Keeper
    13 notes          lines for the log

The order is the safety argument. Three rules make it one:

- Disk work is done strictly in order, one Ready after the other, and `synced(token)` says that all of it up to that
  Ready is durable. It may happen in a thread, with any number of Readies waiting.
- All other fields may be carried out at once, without waiting for the disk: a word that must not leave before the disk
  has caught up (ACK, ACKEPOCH, LEADERINFO) is kept back here, as `held`, and comes as `send` of a later Ready, after
  `synced`. So no driver can acknowledge what a crash would lose.
- Words are held per link, not per sid, and links are never reused: what was held for a leader of yesterday, or synced
  for him, cannot reach the one of today.
"""

from typing import Final

from zkpy.proto.records import Id
from zkpy.zab.history import Entry as Entry

#: The link number that stands for this server itself, among the links of its learners.
OWN: Final = 0

Note = tuple[str, str, dict[str, object]]


class Standing:
    """A role, whether clients can be served in it, and in whose reign: what the Keeper must know of the ensemble.

    `role` is a state of `zkpy.proto.notification` (LOOKING, FOLLOWING, LEADING, OBSERVING). As soon as it does not
    serve, every client connection must be closed. `epoch` is the leader's; its first txn is `make_zxid(epoch, 1)`, or
    for a quorum of one, which keeps counting in the epoch it finds, simply the next.
    """

    __slots__ = ("epoch", "is_serving", "leader", "role")

    def __init__(self, role: int, is_serving: bool, epoch: int, leader: int) -> None:
        self.role = role
        self.is_serving = is_serving
        self.epoch = epoch
        self.leader = leader


class LearnerRequest:
    """A request that a learner's client made and the leader must prepare.

    `link` names the learner's connection, which owns the session as long as it lasts (SESSIONMOVED if another one
    does). `type` SYNC is answered with `Peer.sync(link)` once all requests before it are proposed.
    """

    __slots__ = ("body", "cxid", "identities", "link", "session_id", "type")

    def __init__(
        self, link: int, session_id: int, cxid: int, type_: int, body: bytes, identities: list[Id] | None
    ) -> None:
        self.link = link
        self.session_id = session_id
        self.cxid = cxid
        self.type = type_
        self.body = body
        self.identities = identities


class Ready:
    """One batch of work; falsy when there is nothing to do."""

    __slots__ = (
        "append",
        "close",
        "committed",
        "cuts",
        "dial",
        "epochs",
        "held",
        "is_followed",
        "notes",
        "notify",
        "patient",
        "pinged",
        "reads",
        "requests",
        "restore",
        "revalidated",
        "revalidations",
        "send",
        "snaps",
        "standing",
        "syncs",
        "token",
        "touches",
        "truncate",
    )

    def __init__(self) -> None:
        #: Another one was put together before this one was taken.
        self.is_followed = False
        self.standing: Standing | None = None

        #: What `Peer.receive_snap` was given with the snapshot: make it this server's tree, durable, and drop all
        #: older snapshots and logs; `history` has nothing before it.
        self.restore: object | None = None
        #: The last txn that stays, -1 for no truncation. Snapshots that are newer go too.
        self.truncate = -1
        #: (zxid, txn bytes) in zxid order.
        self.append: list[Entry] = []
        #: (acceptedEpoch, currentEpoch) as both files must say now.
        self.epochs: tuple[int, int] | None = None
        #: What `Peer.synced` takes once all of the disk's work is durable; 0 if there is none.
        self.token = 0
        #: (link, bytes) to be sent once it is durable: the Peer's own affair.
        self.held: list[tuple[int, bytes]] = []

        self.committed: list[Entry] = []

        #: (link, packet): the packet, then at once the image of the tree as it is after `committed` (fuzzy is allowed).
        self.snaps: list[tuple[int, bytes]] = []
        #: (link, whole packets). Words to a link that is gone vanish.
        self.send: list[tuple[int, bytes]] = []
        #: Those words of `send` that nobody waits for: each may wait for the next one to its link, if that comes soon.
        self.patient: list[tuple[int, bytes]] = []
        #: (sid, message without its length).
        self.notify: list[tuple[int, bytes]] = []
        #: sids whose quorum port to dial.
        self.dial: list[int] = []
        #: Links to end, after whatever `send` has for them.
        self.close: list[int] = []
        #: (link, first, last): the txns from `first` on, and up to `last`, that the log holds.
        self.reads: list[tuple[int, int, int]] = []

        #: Learning: (link, zxid): a leader wants the history cut behind this txn; can the disk do that?
        self.cuts: list[tuple[int, int]] = []

        #: Leading: what learners forward, in order.
        self.requests: list[LearnerRequest] = []
        #: Leading: (session id, timeout in ms) of every session that learners have heard of since their last word.
        self.touches: list[tuple[int, int]] = []
        #: Leading: (link, session id, timeout in ms) that a learner asks about; the answer is `Peer.revalidated`.
        self.revalidations: list[tuple[int, int, int]] = []
        #: Learning: (session id, is it alive) in answer to `Peer.revalidate`, in order of the questions.
        self.revalidated: list[tuple[int, bool]] = []
        #: How many of this server's own syncs, the oldest ones, are now answered; after `committed`.
        self.syncs = 0
        #: Learning: the leader asks for the sessions touched since its last ping; the answer is `Peer.pong`.
        self.pinged = False
        #: (level, event, fields)
        self.notes: list[Note] = []

    @property
    def has_disk_work(self) -> bool:
        """Is there anything to be made durable, and `synced` to be called?"""
        return bool(self.append or self.epochs is not None or self.truncate >= 0 or self.restore is not None)

    @property
    def leads_on(self) -> bool:
        """May there be another Ready at once? Not where it has nothing but words to others and committed txns."""
        return bool(
            self.is_followed
            or self.token
            or self.standing is not None
            or self.requests
            or self.pinged
            or self.revalidations
            or self.revalidated
            or self.snaps
            or self.dial
            or self.close
            or self.reads
            or self.cuts
        )

    def __bool__(self) -> bool:
        return bool(
            self.append
            or self.committed
            or self.send
            or self.standing is not None
            or self.epochs is not None
            or self.truncate >= 0
            or self.restore is not None
            or self.snaps
            or self.notify
            or self.dial
            or self.close
            or self.reads
            or self.cuts
            or self.requests
            or self.touches
            or self.revalidations
            or self.revalidated
            or self.syncs
            or self.pinged
            or self.notes
        )
