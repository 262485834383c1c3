"""One operation on its way through the house."""

from typing import TYPE_CHECKING, Any

from zkpy.keeper.auth import Identities
from zkpy.proto.records import TxnHeader

if TYPE_CHECKING:
    from zkpy.keeper.connection import Connection


class Refusal(Exception):
    """The operation is answered with the error `code`; a write that fails so is logged with that code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Request:
    """What a client (or the server itself: `connection` None) wants done.

    `identities` are those of the connection when the request arrived: a later auth packet does not change them.
    `zxid` is 0 until the request is a proposed write; `error` is set where the answer is settled before that.
    A proposed write also has its `header` and `txn`, `digest` (the tree's, after it; -1 if not known) and, where
    preparing it gave that for free, `body`: the txn's encoding without header and digest.
    """

    __slots__ = (
        "body",
        "connection",
        "digest",
        "error",
        "frame",
        "header",
        "identities",
        "received_ms",
        "session_id",
        "txn",
        "type",
        "xid",
        "zxid",
    )

    def __init__(
        self,
        connection: "Connection | None",
        session_id: int,
        xid: int,
        type_: int,
        frame: bytes,
        identities: Identities,
        received_ms: int,
    ) -> None:
        self.connection = connection
        self.session_id = session_id
        self.xid = xid
        self.type = type_
        self.frame = frame
        self.identities = identities
        self.received_ms = received_ms
        self.error = 0
        self.zxid = 0
        self.header: TxnHeader | None = None
        self.txn: Any = None
        self.digest = -1
        self.body: bytes | None = None
