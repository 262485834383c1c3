"""The beginning of a connection: shaking hands, and proving who one is.

    ConnectRequest ─┬─ session 0: a new session, answered when its createSession is applied
                    └─ a session: its old connection is closed, then password and life are checked,
                       the latter on a learner by its leader
    auth, sasl      answered at once, ahead of whatever waits

Checks come in Apache's order. Whoever may not stay is answered (or not) as Apache does, and closed.
Sources: ZooKeeperServer.processConnectRequest, processPacket; AuthenticationHelper.
"""

from typing import TYPE_CHECKING

from jute import JuteError
from zkpy.keeper import connection, local, replies
from zkpy.keeper.auth import digest_identity
from zkpy.keeper.connection import Connection
from zkpy.keeper.requests import Request
from zkpy.keeper.sessions import OWN, Session, password
from zkpy.proto import errors, opcodes
from zkpy.proto.records import AuthPacket, ConnectRequest, CreateSessionTxn, GetSASLRequest
from zkpy.proto.zxid import zxid_text

if TYPE_CHECKING:
    from zkpy.keeper.keeper import Keeper


def connect(keeper: "Keeper", client: Connection, frame: bytes) -> None:
    """A ConnectRequest: a new session, or one to attach to (ZooKeeperServer.processConnectRequest)."""
    if not keeper.is_serving:
        keeper.statistics.closed_not_serving += 1
        keeper.close(client)
        return
    try:
        request, end = _decode_connect(frame)
    except JuteError as error:
        keeper.statistics.unsuccessful_handshakes += 1
        keeper.drop(client, f"not a ConnectRequest: {error}")
        return
    if not keeper.throttle.admits(keeper.now_ms):
        keeper.statistics.connections_dropped_by_throttle += 1
        keeper.statistics.connections_rejected += 1
        keeper.drop(client, "connection throttled")
        return
    keeper.statistics.connection_requests += 1
    client.has_read_only_flag = end
    read_only = keeper.read_only
    if read_only is not None and not request.read_only:
        keeper.drop(client, "this server is in read-only mode, and the client is not for that")
        return
    if request.last_zxid_seen > keeper.tree.last_zxid:
        keeper.drop(
            client,
            f"the client has seen zxid {zxid_text(request.last_zxid_seen)}, ours is {zxid_text(keeper.tree.last_zxid)}:"
            " it must try another server",
        )
        return
    settings = keeper.settings
    timeout_ms = min(max(request.time_out, settings.min_session_timeout_ms), settings.max_session_timeout_ms)
    client.timeout_ms = timeout_ms
    session_id = request.session_id
    if session_id == 0:
        if read_only is not None:
            read_only.open(client)
        elif settings.local_sessions and keeper.membership is not None:
            attach(keeper, client, local.open_session(keeper, client))
        else:
            _open(keeper, client)
        return
    is_known = session_id in keeper.tree.sessions.timeouts
    if read_only is not None and is_known:
        keeper.drop(client, "a session of the ensemble cannot go on in read-only mode")
        return
    found = keeper.sessions.by_id.get(session_id)
    if found is not None and found.connection is not None:
        # Whoever names the session takes its place, even with a wrong password.
        keeper.close(found.connection)
        found.connection = None
    keeper.statistics.connection_revalidations += 1
    if request.passwd != password(session_id):
        refuse(keeper, client)
    elif keeper.learning is not None and read_only is None and not (found is not None and found.is_local):
        keeper.learning.ask(client, session_id)
    elif found is None or found.is_closing or not (is_known or found.is_local or keeper.leading is not None):
        refuse(keeper, client)
    else:
        found.owner = OWN
        keeper.sessions.expiry.touch(found, timeout_ms, keeper.now_ms)
        attach(keeper, client, found)


def _open(keeper: "Keeper", client: Connection) -> None:
    """A new session: answered when its createSession is applied."""
    keeper.sessionless.remove(client)
    sessions = keeper.sessions
    session_id = sessions.new_id(keeper.tree.sessions.timeouts)
    if keeper.learning is None:
        session = sessions.open(session_id, client.timeout_ms, keeper.now_ms)
    else:
        session = sessions.adopt(session_id, client.timeout_ms)
    session.connection = client
    client.session = session
    client.phase = connection.CONNECTING
    create = Request(client, session_id, 0, opcodes.CREATE_SESSION, b"", (), keeper.now_ms)
    create.txn = CreateSessionTxn(client.timeout_ms)
    keeper.submit(create)
    client.waiting.append(create)


def attach(keeper: "Keeper", client: Connection, session: Session) -> None:
    """`client` may go on with a session that lives; whoever spoke for it until now is closed."""
    if session.connection is not None:
        keeper.close(session.connection)
    keeper.sessionless.remove(client)
    session.connection = client
    client.session = session
    client.out.append(welcome(client, is_read_only=keeper.read_only is not None))
    keeper.mark(client)


def refuse(keeper: "Keeper", client: Connection) -> None:
    """The session that `client` wants to continue is not there, or is not his."""
    flag = keeper.read_only is not None if client.has_read_only_flag else None
    client.out.append(replies.connect_reply(0, 0, replies.NO_PASSWORD, flag))
    keeper.statistics.unsuccessful_handshakes += 1
    keeper.close(client)


def welcome(client: Connection, *, is_read_only: bool = False) -> bytes:
    """The ConnectResponse of a session that `client` may speak for from now on."""
    session = client.session
    assert session is not None
    client.phase = connection.OPEN
    flag = is_read_only if client.has_read_only_flag else None
    return replies.connect_reply(client.timeout_ms, session.id, password(session.id), flag)


def authenticate(keeper: "Keeper", client: Connection, xid: int, frame: bytes) -> None:
    """An auth packet: answered at once, ahead of whatever waits (ZooKeeperServer.processPacket)."""
    try:
        packet = AuthPacket.decode(frame, 8)[0]
    except JuteError as error:
        keeper.drop(client, str(error))
        return
    settings = keeper.settings
    if packet.scheme == "ip":
        client.add_identity(("ip", client.ip))
    elif packet.scheme == "digest" and settings.digest_auth_enabled and packet.auth is not None:
        identity = digest_identity(packet.auth, settings.digest_algorithm)
        if settings.super_digest is not None and identity[1] == settings.super_digest:
            client.add_identity(("super", ""))
        client.add_identity(identity)
    else:
        keeper.statistics.auth_failed += 1
        keeper.note("warning", "authentication failed", client=client.address, scheme=packet.scheme)
        client.out.append(replies.error_reply(xid, 0, errors.AUTHFAILED))
        keeper.close(client)
        return
    client.out.append(replies.error_reply(xid, 0, errors.OK))


def is_authenticated(keeper: "Keeper", client: Connection, xid: int, op: int) -> bool:
    """With required authentication on: may this request pass? If not it is refused and the connection closed."""
    schemes = keeper.settings.enforce_auth_schemes
    if op in (opcodes.AUTH, opcodes.SASL) or any(scheme in schemes for scheme, _ in client.identities):
        return True
    client.out.append(replies.error_reply(xid, 0, errors.SESSIONCLOSEDREQUIRESASLAUTH))
    keeper.close(client)
    return False


def sasl(keeper: "Keeper", client: Connection, xid: int, frame: bytes) -> None:
    """No SASL mechanism is configured: an empty token, as Apache answers."""
    try:
        token = GetSASLRequest.decode(frame, 8)[0].token
    except JuteError as error:
        keeper.drop(client, str(error))
        return
    if token is None:
        keeper.drop(client, "a SASL request without a token")
        return
    client.out.append(replies.reply(xid, 0, replies.NULL_BUFFER))


def _decode_connect(frame: bytes) -> tuple[ConnectRequest, bool]:
    """The request, and whether its client knows the readOnly flag: clients of 3.3 and before end without it."""
    with_flag = frame + b"\0"
    request, end = ConnectRequest.decode(with_flag, 0)
    return request, end <= len(frame)
