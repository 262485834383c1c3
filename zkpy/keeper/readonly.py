"""ReadOnly: what a member without a leader offers to clients that can do with it (readonlymode.enabled).

It begins when the server has looked for a leader for a while, and ends, with all its connections, as soon as one is
found. The tree is read as it is; whatever would change it is NOTREADONLY. A session of the ensemble cannot be continued
here. Where local sessions are allowed a new one is made, which no other server and no txn ever hears of, and which
expires here. Source: ReadOnlyZooKeeperServer, ReadOnlyRequestProcessor.
"""

from zkpy.keeper import handshake, local, replies
from zkpy.keeper.connection import Connection
from zkpy.keeper.learning import Learning
from zkpy.keeper.requests import Request
from zkpy.proto import errors, opcodes


class ReadOnly(Learning):
    """A time of serving without a leader. It has nobody to forward to, and nothing commits."""

    __slots__ = ()

    def submit(self, request: Request) -> None:
        """A write or sync: refused, but that a session may end."""
        if request.op != opcodes.CLOSE_SESSION or not local.settles(self.keeper, request):
            request.error = errors.NOTREADONLY

    def open(self, client: Connection) -> None:
        """A new session, if one may be local."""
        keeper = self.keeper
        if not keeper.settings.local_sessions:
            client.out.append(replies.error_reply(0, keeper.tree.last_zxid, errors.NOTREADONLY))
            keeper.mark(client)
            return
        handshake.attach(keeper, client, local.open_session(keeper, client))
