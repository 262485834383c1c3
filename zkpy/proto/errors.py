"""The two ways a request can fail: an answer with a code (KeeperError), or a peer that broke the rules (ProtocolError).

Codes are named as Apache's `KeeperException.Code`, classes as kazoo names them, so that users meet the words they know.
"""

from __future__ import annotations

from typing import Final

# Codes

OK: Final = 0
SYSTEMERROR: Final = -1
RUNTIMEINCONSISTENCY: Final = -2
DATAINCONSISTENCY: Final = -3
CONNECTIONLOSS: Final = -4
MARSHALLINGERROR: Final = -5
UNIMPLEMENTED: Final = -6
OPERATIONTIMEOUT: Final = -7
BADARGUMENTS: Final = -8
UNKNOWNSESSION: Final = -12
NEWCONFIGNOQUORUM: Final = -13
RECONFIGINPROGRESS: Final = -14
APIERROR: Final = -100
NONODE: Final = -101
NOAUTH: Final = -102
BADVERSION: Final = -103
NOCHILDRENFOREPHEMERALS: Final = -108
NODEEXISTS: Final = -110
NOTEMPTY: Final = -111
SESSIONEXPIRED: Final = -112
INVALIDCALLBACK: Final = -113
INVALIDACL: Final = -114
AUTHFAILED: Final = -115
SESSIONMOVED: Final = -118
NOTREADONLY: Final = -119
EPHEMERALONLOCALSESSION: Final = -120
NOWATCHER: Final = -121
REQUESTTIMEOUT: Final = -122
RECONFIGDISABLED: Final = -123
SESSIONCLOSEDREQUIRESASLAUTH: Final = -124
QUOTAEXCEEDED: Final = -125
THROTTLEDOP: Final = -127

NAMES: Final[dict[int, str]] = {
    OK: "OK",
    SYSTEMERROR: "SYSTEMERROR",
    RUNTIMEINCONSISTENCY: "RUNTIMEINCONSISTENCY",
    DATAINCONSISTENCY: "DATAINCONSISTENCY",
    CONNECTIONLOSS: "CONNECTIONLOSS",
    MARSHALLINGERROR: "MARSHALLINGERROR",
    UNIMPLEMENTED: "UNIMPLEMENTED",
    OPERATIONTIMEOUT: "OPERATIONTIMEOUT",
    BADARGUMENTS: "BADARGUMENTS",
    UNKNOWNSESSION: "UNKNOWNSESSION",
    NEWCONFIGNOQUORUM: "NEWCONFIGNOQUORUM",
    RECONFIGINPROGRESS: "RECONFIGINPROGRESS",
    APIERROR: "APIERROR",
    NONODE: "NONODE",
    NOAUTH: "NOAUTH",
    BADVERSION: "BADVERSION",
    NOCHILDRENFOREPHEMERALS: "NOCHILDRENFOREPHEMERALS",
    NODEEXISTS: "NODEEXISTS",
    NOTEMPTY: "NOTEMPTY",
    SESSIONEXPIRED: "SESSIONEXPIRED",
    INVALIDCALLBACK: "INVALIDCALLBACK",
    INVALIDACL: "INVALIDACL",
    AUTHFAILED: "AUTHFAILED",
    SESSIONMOVED: "SESSIONMOVED",
    NOTREADONLY: "NOTREADONLY",
    EPHEMERALONLOCALSESSION: "EPHEMERALONLOCALSESSION",
    NOWATCHER: "NOWATCHER",
    REQUESTTIMEOUT: "REQUESTTIMEOUT",
    RECONFIGDISABLED: "RECONFIGDISABLED",
    SESSIONCLOSEDREQUIRESASLAUTH: "SESSIONCLOSEDREQUIRESASLAUTH",
    QUOTAEXCEEDED: "QUOTAEXCEEDED",
    THROTTLEDOP: "THROTTLEDOP",
}


class ProtocolError(Exception):
    """The other side broke the protocol: close that one connection or link, and log one line."""


class KeeperError(Exception):
    """An answer that is an error: its code, and the path it is about, if any. Use the subclasses, one per code."""

    code: int = OK

    def __init__(self, path: str | None = None) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        name = NAMES.get(self.code, "unknown code")
        return f"{name} ({self.code})" + (f" for {self.path}" if self.path is not None else "")


class SystemZookeeperError(KeeperError):
    """Something that should not happen; not sent by servers."""

    code = SYSTEMERROR


class RuntimeInconsistency(KeeperError):
    """In a failed multi: the operations behind the one that failed."""

    code = RUNTIMEINCONSISTENCY


class DataInconsistency(KeeperError):
    """Not sent by servers."""

    code = DATAINCONSISTENCY


class ConnectionLoss(KeeperError):
    """Made by clients: the connection broke with the request in flight."""

    code = CONNECTIONLOSS


class MarshallingError(KeeperError):
    """The request's body could not be read."""

    code = MARSHALLINGERROR


class UnimplementedError(KeeperError):
    """No such request type; or one that this configuration leaves out."""

    code = UNIMPLEMENTED


class OperationTimeoutError(KeeperError):
    """Made by clients."""

    code = OPERATIONTIMEOUT


class BadArgumentsError(KeeperError):
    """A bad path, flag or TTL; or a system znode."""

    code = BADARGUMENTS


class UnknownSessionError(KeeperError):
    """No session of that id is tracked."""

    code = UNKNOWNSESSION


class NewConfigNoQuorumError(KeeperError):
    """reconfig: no quorum of the new ensemble is connected."""

    code = NEWCONFIGNOQUORUM


class ReconfigInProcessError(KeeperError):
    """reconfig: another one is under way."""

    code = RECONFIGINPROGRESS


class APIError(KeeperError):
    """A mark: codes below it are the user's errors."""

    code = APIERROR


class NoNodeError(KeeperError):
    """There is no such znode, or no parent for it."""

    code = NONODE


class NoAuthError(KeeperError):
    """The ACL does not permit it."""

    code = NOAUTH


class BadVersionError(KeeperError):
    """The version is not the expected one."""

    code = BADVERSION


class NoChildrenForEphemeralsError(KeeperError):
    """An ephemeral znode has no children."""

    code = NOCHILDRENFOREPHEMERALS


class NodeExistsError(KeeperError):
    """The znode is there already."""

    code = NODEEXISTS


class NotEmptyError(KeeperError):
    """The znode has children."""

    code = NOTEMPTY


class SessionExpiredError(KeeperError):
    """The session is closing or gone."""

    code = SESSIONEXPIRED


class InvalidCallbackError(KeeperError):
    """Made by clients."""

    code = INVALIDCALLBACK


class InvalidACLError(KeeperError):
    """An ACL that is empty or names an id its scheme does not accept."""

    code = INVALIDACL


class AuthFailedError(KeeperError):
    """The credentials were refused."""

    code = AUTHFAILED


class SessionMovedError(KeeperError):
    """The session is another server's now; the connection closes instead of answering."""

    code = SESSIONMOVED


class NotReadOnlyCallError(KeeperError):
    """A write, and the server is read-only."""

    code = NOTREADONLY


class EphemeralOnLocalSessionError(KeeperError):
    """A local session cannot own ephemerals."""

    code = EPHEMERALONLOCALSESSION


class NoWatcherError(KeeperError):
    """There is no such watch to check or remove."""

    code = NOWATCHER


class RequestTimeoutError(KeeperError):
    """Made by clients."""

    code = REQUESTTIMEOUT


class ReconfigDisabledError(KeeperError):
    """reconfig is switched off."""

    code = RECONFIGDISABLED


class SessionClosedRequireSaslError(KeeperError):
    """The connection must authenticate first."""

    code = SESSIONCLOSEDREQUIRESASLAUTH


class QuotaExceededError(KeeperError):
    """A hard quota would be passed."""

    code = QUOTAEXCEEDED


class ThrottledOpError(KeeperError):
    """The request waited too long in an overloaded server."""

    code = THROTTLEDOP


BY_CODE: Final[dict[int, type[KeeperError]]] = {
    kind.code: kind
    for kind in (
        SystemZookeeperError,
        RuntimeInconsistency,
        DataInconsistency,
        ConnectionLoss,
        MarshallingError,
        UnimplementedError,
        OperationTimeoutError,
        BadArgumentsError,
        UnknownSessionError,
        NewConfigNoQuorumError,
        ReconfigInProcessError,
        APIError,
        NoNodeError,
        NoAuthError,
        BadVersionError,
        NoChildrenForEphemeralsError,
        NodeExistsError,
        NotEmptyError,
        SessionExpiredError,
        InvalidCallbackError,
        InvalidACLError,
        AuthFailedError,
        SessionMovedError,
        NotReadOnlyCallError,
        EphemeralOnLocalSessionError,
        NoWatcherError,
        RequestTimeoutError,
        ReconfigDisabledError,
        SessionClosedRequireSaslError,
        QuotaExceededError,
        ThrottledOpError,
    )
}


def error_of(code: int, path: str | None = None) -> KeeperError:
    """The error for a code from the wire; a plain KeeperError carries a code nobody knows."""
    kind = BY_CODE.get(code)
    if kind is not None:
        return kind(path)
    error = KeeperError(path)
    error.code = code
    return error
