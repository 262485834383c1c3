"""Live sessions as the server that decides over them sees them: when each expires, and which connection speaks for it.

The replicated part (id, timeout, ephemerals) is `zkpy.tree.sessions`; this is the part that needs a clock. A session
is here from the moment its createSession is proposed until its closeSession is applied.
Sources: SessionTrackerImpl, ZooKeeperServer.generatePasswd.
"""

from collections.abc import Container, Iterable
from struct import pack
from typing import TYPE_CHECKING, Final

from zkpy.keeper.expiry import ExpiryQueue
from zkpy.proto import errors
from zkpy.tree.znode import CONTAINER_OWNER

if TYPE_CHECKING:
    from zkpy.keeper.connection import Connection

#: The owner of sessions that act through this server itself; others are links of learners.
OWN: Final = 0

_SECRET: Final = 0xB3415C00
_MULTIPLIER: Final = 0x5DEECE66D
_MASK_48: Final = (1 << 48) - 1


class Session:
    """One live session. `connection` is None while no client is attached to it here.

    `owner` is for the leader to know through which of its learners the session acts; None until it does.
    """

    __slots__ = ("connection", "id", "is_closing", "is_local", "owner", "timeout_ms")

    def __init__(self, session_id: int, timeout_ms: int) -> None:
        self.id = session_id
        self.timeout_ms = timeout_ms
        self.connection: Connection | None = None
        self.is_closing = False
        #: Is it known to this server alone (`zkpy.keeper.local`)?
        self.is_local = False
        self.owner: int | None = None


class LiveSessions:
    """Session id → session, and their deadlines.

    On a learner only the sessions that are or were attached here, and without deadlines: the leader decides over them.
    """

    __slots__ = ("_next_id", "_server_id", "admits_foreign", "by_id", "expiry", "unknown_code")

    def __init__(self, server_id: int, tick_ms: int, wall_ms: int) -> None:
        self.by_id: dict[int, Session] = {}
        self.expiry: ExpiryQueue[Session] = ExpiryQueue(tick_ms)
        self._next_id = first_session_id(server_id, wall_ms)
        self._server_id = server_id & 0xFF
        #: May sessions act that are not here and that other servers have made? They may be local ones there.
        self.admits_foreign = False
        #: What requests of a session that is not here get.
        self.unknown_code = errors.UNKNOWNSESSION

    def clear(self) -> None:
        """Forget all sessions, but not which ids were given away."""
        self.by_id.clear()
        for session in list(self.expiry.deadlines):
            self.expiry.remove(session)

    def restore(self, timeouts: Iterable[tuple[int, int]], now_ms: int) -> None:
        """Take over the sessions of a data directory, each with a full timeout from now."""
        for session_id, timeout_ms in timeouts:
            self.open(session_id, timeout_ms, now_ms)

    def new_id(self, taken: Container[int]) -> int:
        """An id that no session has, neither here nor among `taken`."""
        while self._next_id in self.by_id or self._next_id in taken or self._next_id in (0, CONTAINER_OWNER):
            self._next_id += 1
        session_id = self._next_id
        self._next_id += 1
        return session_id

    def open(self, session_id: int, timeout_ms: int, now_ms: int) -> Session:
        """Start following a session."""
        session = self.by_id[session_id] = Session(session_id, timeout_ms)
        self.expiry.touch(session, timeout_ms, now_ms)
        return session

    def adopt(self, session_id: int, timeout_ms: int) -> Session:
        """Know a session that somebody else lets expire."""
        session = self.by_id[session_id] = Session(session_id, timeout_ms)
        return session

    def set_closing(self, session_id: int) -> None:
        """Its closeSession is proposed: no more requests, no second expiry."""
        session = self.by_id.get(session_id)
        if session is not None:
            session.is_closing = True
            self.expiry.remove(session)

    def close(self, session_id: int) -> Session | None:
        """Its closeSession is applied: forget it. The session as it was, if it was known."""
        session = self.by_id.pop(session_id, None)
        if session is not None:
            self.expiry.remove(session)
        return session

    def state(self, session_id: int) -> int:
        """0 if the session may act, else the error code that its requests get (SessionTracker.checkSession)."""
        session = self.by_id.get(session_id)
        if session is None:
            if self.admits_foreign and session_id >> 56 & 0xFF != self._server_id:
                return 0
            return self.unknown_code
        return errors.SESSIONEXPIRED if session.is_closing else 0


def first_session_id(server_id: int, wall_ms: int) -> int:
    """Where a server starts counting: its id in the top byte, then 40 bits of milliseconds, then 16 zero bits."""
    number = (server_id & 0xFF) << 56 | (wall_ms & (1 << 40) - 1) << 16
    return number - (1 << 64) if number >> 63 else number


def password(session_id: int) -> bytes:
    """The 16 bytes that prove a client owns the session: the same on every server and after every restart.

    What `java.util.Random(session_id XOR 0xB3415C00).nextBytes` gives.
    """
    seed = (session_id ^ _SECRET ^ _MULTIPLIER) & _MASK_48
    words = []
    for _ in range(4):
        seed = (seed * _MULTIPLIER + 0xB) & _MASK_48
        words.append(seed >> 16)
    return pack("<4I", *words)
