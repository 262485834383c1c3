"""Local sessions: known to the member that made them and to nobody else (localSessionsEnabled).

    opened    at once, without a txn; kept alive and expired here
    writes    forwarded like any other; the leader lets sessions pass that other members may have made
    ephemeral its creation makes a session of the ensemble of it first (localSessionsUpgradingEnabled), or is refused
    closed    behind the writes of its client, without a txn

They end with the standing of their server. Sources: UpgradeableSessionTracker, QuorumZooKeeperServer.
"""

from typing import TYPE_CHECKING, Final

from jute import JuteError
from zkpy.keeper import replies
from zkpy.keeper.connection import Connection
from zkpy.keeper.multis import decode_multi
from zkpy.keeper.requests import Request, Undecodable
from zkpy.keeper.sessions import OWN, Session
from zkpy.proto import errors, opcodes
from zkpy.proto.records import CreateRequest, CreateSessionTxn
from zkpy.proto.zxid import zxid_text

if TYPE_CHECKING:
    from zkpy.keeper.keeper import Keeper

_CREATES: Final = frozenset((opcodes.CREATE, opcodes.CREATE2))


def open_session(keeper: "Keeper", client: Connection) -> Session:
    """A new one, for `client` to be attached to."""
    sessions = keeper.sessions
    session = sessions.open(sessions.new_id(keeper.tree.sessions.timeouts), client.timeout_ms, keeper.now_ms)
    session.is_local = True
    session.owner = OWN
    return session


def settles(keeper: "Keeper", request: Request) -> bool:
    """Before a write goes to the leader: is nothing left for him to do, as it is a matter of a local session?"""
    session = keeper.sessions.by_id.get(request.client_id)
    if session is None or not session.is_local:
        return False
    if request.op == opcodes.CLOSE_SESSION:
        client = request.connection
        assert client is not None, "a local session that is closed by nobody"
        # It stays in the queue of those that expire: its client may go away before the writes in front are answered.
        session.is_closing = True
        if not client.waiting:
            close_session(keeper, client, request.cxid)
        return True
    if _creates_ephemeral(request):
        if keeper.settings.local_sessions_upgrading:
            _upgrade(keeper, session)
        elif request.op != opcodes.MULTI:  # whose answer tells operation by operation
            request.error = errors.EPHEMERALONLOCALSESSION
            return True
    return False


def close_session(keeper: "Keeper", client: Connection, cxid: int) -> None:
    """All its client has asked for is answered: end it."""
    keeper.sessions.close(client.session_id)
    client.out.append(replies.error_reply(cxid, keeper.tree.last_zxid, errors.OK))
    keeper.close(client)


def expire(keeper: "Keeper", session: Session) -> None:
    """Nothing was heard of it for too long."""
    keeper.sessions.close(session.id)
    if session.connection is not None:
        session.connection.is_abandoned = True
        keeper.close(session.connection)


def _upgrade(keeper: "Keeper", session: Session) -> None:
    """Have the ensemble know it under the same id, and its leader decide over its life."""
    session.is_local = False
    create = Request(None, session.id, 0, opcodes.CREATE_SESSION, b"", (), keeper.now_ms)
    create.txn = CreateSessionTxn(session.timeout_ms)
    keeper.submit(create)
    if keeper.learning is not None:
        keeper.sessions.expiry.remove(session)
        keeper.learning.touch(session.id, session.timeout_ms)
    if session.connection is not None:
        session.connection.touch_again_ms = 0
    keeper.note("info", "local session became one of the ensemble", session=zxid_text(session.id))


def _creates_ephemeral(request: Request) -> bool:
    try:
        if request.op in _CREATES:
            return CreateRequest.decode(request.frame, 8)[0].flags in opcodes.EPHEMERAL_FLAGS
        return request.op == opcodes.MULTI and any(
            type_ in _CREATES and body.flags in opcodes.EPHEMERAL_FLAGS for type_, body in decode_multi(request.frame)
        )
    except (JuteError, Undecodable):
        return False  # whoever judges it says so
