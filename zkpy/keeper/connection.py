"""One client connection, without its socket: bytes that arrived, frames that wait, packets to send.

    NEW ──ConnectRequest──→ CONNECTING ──createSession applied──→ OPEN ──→ CLOSED
     ├──────────────re-attach to a live session──────────────────↗
     └──the same at a learner──→ ATTACHING ──the leader says yes─↗

The order of answers is kept in `waiting`: it holds every request that is not answered yet, oldest first. While it is
empty a read is answered at once; behind a write that is in flight it waits its turn, so that a session sees its own
writes (and only its own) in order.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from zkpy.keeper.auth import Identities, Identity
from zkpy.proto.frames import Framer

if TYPE_CHECKING:
    from zkpy.keeper.requests import Request, Usual
    from zkpy.keeper.sessions import Session

NEW: Final = 0
CONNECTING: Final = 1
OPEN: Final = 2
CLOSED: Final = 3
ATTACHING: Final = 4
#: What else the client has sent is left alone until it is OPEN: not even who it says it is is answered before that.
UNSETTLED: Final = (CONNECTING, ATTACHING)


class Connection:
    """State of one client connection. `out` is what to send, in order: a packet an item, events among the replies.

    The driver sends `out` once per turn; when `closing` is set it closes the socket after that.
    """

    __slots__ = (
        "__weakref__",
        "_known",
        "address",
        "backlog",
        "closing",
        "established_ms",
        "framer",
        "has_read_only_flag",
        "head",
        "identities",
        "ip",
        "is_abandoned",
        "is_dirty",
        "last_cxid",
        "last_latency_ms",
        "last_op",
        "last_response_ms",
        "last_zxid",
        "latency_count",
        "latency_max_ms",
        "latency_min_ms",
        "latency_total_ms",
        "link",
        "out",
        "phase",
        "received",
        "sent",
        "session",
        "timeout_ms",
        "touch_again_ms",
        "waiting",
    )

    def __init__(self, ip: str, address: str, max_frame: int, now_ms: int) -> None:
        """`ip` is the peer's address as Java prints it, `address` the same with its port, for texts."""
        self.ip = ip
        self.address = address
        self.identities: Identities = (("ip", ip),)
        # The same, to look one up: a client may prove thousands.
        self._known = dict.fromkeys(self.identities)
        self.phase = NEW
        self.session: Session | None = None
        self.timeout_ms = 0
        # Until then the session's deadline, rounded up to a tick, stays what it is.
        self.touch_again_ms = 0
        self.has_read_only_flag = False
        self.framer = Framer(max_frame)
        # The first bytes of a new connection, until there are four: a word or a frame's length. Then None.
        self.head: bytes | None = b""
        # invariant: not empty while a write of this connection is in flight
        self.waiting: deque[Request | Usual] = deque()
        self.out: list[bytes] = []
        # Frames that came while more was ready to send than a client may leave unread; see `Keeper.resume`.
        self.backlog: list[bytes] = []
        self.is_dirty = False
        self.closing = False
        # Closing, and not to be waited for: the client does not read what it was sent.
        self.is_abandoned = False
        # The driver's own handle on the socket; the core never looks at it.
        self.link: object = None
        self.established_ms = now_ms
        self.reset_statistics()

    def reset_statistics(self) -> None:
        """Start counting anew (crst)."""
        self.received = 0
        self.sent = 0
        self.last_op = "NA"
        self.last_cxid = -1
        self.last_zxid = -1
        self.last_response_ms = 0
        self.last_latency_ms = 0
        self.latency_min_ms = -1
        self.latency_max_ms = 0
        self.latency_total_ms = 0
        self.latency_count = 0

    def answered(self, xid: int, op: str, latency_ms: int, count: int, now_ms: int, zxid: int) -> None:
        """`count` requests were answered, of which the last was this: what `cons` and `stat` show."""
        self.last_op = op
        if xid >= 0:
            self.last_cxid = xid
        self.last_zxid = zxid
        self.last_response_ms = now_ms
        self.last_latency_ms = latency_ms
        self.latency_count += count
        self.latency_total_ms += latency_ms * count
        if latency_ms > self.latency_max_ms:
            self.latency_max_ms = latency_ms
        if latency_ms < self.latency_min_ms or self.latency_min_ms < 0:
            self.latency_min_ms = latency_ms

    @property
    def session_id(self) -> int:
        """Id of the session this connection speaks for, 0 while there is none."""
        return self.session.id if self.session is not None else 0

    def out_size(self) -> int:
        """Bytes ready to send and not taken by the driver yet."""
        return sum(map(len, self.out))

    def add_identity(self, identity: Identity) -> None:
        """An auth packet succeeded; requests that arrived before it keep what they had."""
        if identity not in self._known:
            self._known[identity] = None
            self.identities = (*self.identities, identity)
