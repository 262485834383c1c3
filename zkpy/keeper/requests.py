"""One operation on its way through the house."""

from typing import TYPE_CHECKING, Any

from zkpy.keeper.auth import Identities
from zkpy.proto.records import TxnHeader
from zkpy.tree.znode import ZNode

if TYPE_CHECKING:
    from zkpy.keeper.connection import Connection


class Refusal(Exception):
    """The operation is answered with the error `code`; a write that fails so is logged with that code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Undecodable(Exception):
    """The request's body is not what its opcode says. `takes_zxid`: it is logged as an error txn all the same."""

    def __init__(self, takes_zxid: bool = False) -> None:
        super().__init__(takes_zxid)
        self.takes_zxid = takes_zxid


class Request(TxnHeader):
    """What a client (or the server itself: `connection` None) wants done with the opcode `op`.

    It is also the header of the txn that a write leads to: `zxid` is 0 until it is proposed, `type` is `op` unless
    the write is refused. `identities` are those of the connection when the request arrived: a later auth packet does
    not change them. `error` is set where the answer is settled before anything is proposed.
    A proposed write has its `txn`, its `entry` (the txn as bytes), `digest` (that of the tree after it; -1 if
    not known), and `made`, the node that a create leads to.
    """

    __slots__ = (
        "connection",
        "digest",
        "entry",
        "error",
        "frame",
        "identities",
        "made",
        "op",
        "received_ms",
        "txn",
    )

    def __init__(
        self,
        connection: "Connection | None",
        session_id: int,
        xid: int,
        op: int,
        frame: bytes,
        identities: Identities,
        received_ms: int,
    ) -> None:
        self.client_id = session_id
        self.cxid = xid
        self.zxid = 0
        self.time = 0
        self.type = self.op = op
        self.connection = connection
        self.frame = frame
        self.identities = identities
        self.received_ms = received_ms
        self.error = 0
        self.txn: Any = None
        self.digest = -1
        self.entry = b""
        self.made: ZNode | None = None
