"""ReadOnly: what a member without a leader offers to clients that can do with it (readonlymode.enabled).

It begins when the server has looked for a leader for a while, and ends, with all its connections, as soon as one is
found. The tree is read as it is; whatever would change it is NOTREADONLY. A session of the ensemble cannot be continued
here. Where local sessions are allowed a new one is made, which no other server and no txn ever hears of, and which
expires here. Source: ReadOnlyZooKeeperServer, ReadOnlyRequestProcessor.
"""

from zkpy.keeper import handshake, replies
from zkpy.keeper.connection import Connection
from zkpy.keeper.learning import Learning
from zkpy.keeper.requests import Request
from zkpy.keeper.sessions import Session
from zkpy.proto import errors, opcodes


class ReadOnly(Learning):
    """A time of serving without a leader. It has nobody to forward to, and nothing commits."""

    __slots__ = ()

    def submit(self, request: Request) -> None:
        """A write or sync: refused, but that a session may end."""
        client = request.connection
        if request.op != opcodes.CLOSE_SESSION or client is None:
            request.error = errors.NOTREADONLY
            return
        self.keeper.sessions.set_closing(request.client_id)
        self.keeper.sessions.close(request.client_id)
        client.out.append(replies.error_reply(request.cxid, self.keeper.tree.last_zxid, errors.OK))
        self.keeper.close(client)

    def open(self, client: Connection) -> None:
        """A new session, if one may be local."""
        keeper = self.keeper
        if not keeper.settings.local_sessions:
            client.out.append(replies.error_reply(0, keeper.tree.last_zxid, errors.NOTREADONLY))
            keeper.mark(client)
            return
        session_id = keeper.sessions.new_id(keeper.tree.sessions.timeouts)
        session = keeper.sessions.open(session_id, client.timeout_ms, keeper.now_ms)
        handshake.attach(keeper, client, session)

    def touch(self, session_id: int, timeout_ms: int) -> None:
        """A client here was heard of."""
        sessions = self.keeper.sessions
        sessions.expiry.touch(sessions.by_id[session_id], timeout_ms, self.keeper.now_ms)

    def expire(self, session: Session) -> None:
        """Nothing was heard of a session for too long."""
        self.keeper.sessions.close(session.id)
        if session.connection is not None:
            session.connection.is_abandoned = True
            self.keeper.close(session.connection)
