"""A replica that a test can interfere with: sessions that expire now, clients that stay outside, a clock that moves.

The moved clock is the service's: sessions, TTL nodes, containers, times in stats. The protocol between members keeps
to the real one, or whoever moves the clocks of an ensemble would only see it elect a leader.
"""

from struct import unpack_from
from typing import Final

from zkpy.keeper.connection import NEW, Connection
from zkpy.keeper.keeper import Keeper
from zkpy.proto.zxid import zxid_text
from zkpy.replica import Replica
from zkpy.testing.errors import ControlError
from zkpy.zab.peer import Peer

#: Where a connect request's frame holds the session's id, and where that ends.
_ID_AT: Final = 20
_ID_END: Final = 28


class ControlledReplica(Replica):
    """All of it happens in the server's own thread, between two turns or in one."""

    __slots__ = ("ahead_ms", "cut_off", "wall_ahead_ms")

    def __init__(self, keeper: Keeper, peer: Peer | None, cut_off: set[int], wall_ahead_ms: int) -> None:
        """`cut_off`: the sessions that get no connection, for the caller to change."""
        super().__init__(keeper, peer)
        self.cut_off = cut_off
        #: How far the clocks are ahead of the real ones: the one that only goes forward, and the time of day.
        self.ahead_ms = 0
        self.wall_ahead_ms = wall_ahead_ms

    def begin(self, now_ms: int, wall_ms: int) -> None:
        """A turn begins at these times of the real clocks."""
        self.keeper.begin(now_ms + self.ahead_ms, wall_ms + self.wall_ahead_ms)
        self.peer.begin(now_ms)

    def deadline_ms(self) -> int | None:
        """When to `wake`, on the real clock."""
        deadline_ms = self.keeper.deadline_ms()
        times_ms = [] if deadline_ms is None else [deadline_ms - self.ahead_ms]
        peers_ms = self.peer.deadline_ms()
        if peers_ms is not None:
            times_ms.append(peers_ms)
        return min(times_ms, default=None)

    def received(self, connection: Connection, data: bytes) -> None:
        """A client has sent bytes; one that is cut off gets no answer."""
        if self.cut_off and self._session_of(connection, data) in self.cut_off:
            self._break(connection)
        else:
            super().received(connection, data)

    def break_connection(self, session_id: int) -> None:
        """End the session's connection, if there is one here."""
        for connection in list(self.keeper.connections):
            if connection.session_id == session_id:
                self._break(connection)

    def expire(self, session_id: int) -> None:
        """Let the session's time be over. Raises ControlError if there is no such session here."""
        sessions = self.keeper.sessions
        session = sessions.by_id.get(session_id)
        if session is None:
            raise ControlError(f"there is no session {zxid_text(session_id)} here: it is over already, or another's")
        if not session.is_closing:
            sessions.expiry.touch(session, 0, 0)
            self.wake()

    def has_session(self, session_id: int) -> bool:
        """Is the session alive?"""
        return session_id in self.keeper.sessions.by_id

    def _break(self, connection: Connection) -> None:
        connection.is_abandoned = True
        self.keeper.drop(connection, "the test has cut it off")

    @staticmethod
    def _session_of(connection: Connection, data: bytes) -> int:
        if connection.phase == NEW and len(data) >= _ID_END:
            session_id: int = unpack_from(">q", data, _ID_AT)[0]
            return session_id
        return connection.session_id
