"""One operation on its way through the house."""

from typing import TYPE_CHECKING, Any, Final, final

from zkpy.keeper.auth import Identities
from zkpy.proto.records import TxnHeader
from zkpy.tree.prepared import PreparedCreate, PreparedSet
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


@final
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


@final
class UsualSet(PreparedSet):
    """A setData that was proposed by the quick way (`zkpy.keeper.quick`): request and txn in one.

    What follows from it is known: `tree_digest`, that of the tree after it, and `packet`, its answer.
    """

    __slots__ = ("connection", "cxid", "packet", "received_ms", "tree_digest")

    #: As a request among others: nothing was wrong with it.
    error: Final = 0

    # All in one call, for one of these is made per write.
    def __init__(
        self,
        connection: "Connection | None",
        cxid: int,
        received_ms: int,
        path: str,
        data: bytes,
        version: int,
        mtime: int,
        zxid: int,
        digest: int,
        tree_digest: int,
        packet: bytes,
    ) -> None:
        self.connection = connection
        self.cxid = cxid
        self.received_ms = received_ms
        self.path = path
        self.data = data
        self.version = version
        self.mtime = mtime
        self.zxid = zxid
        self.digest = digest
        self.tree_digest = tree_digest
        self.packet = packet


@final
class UsualCreate(PreparedCreate):
    """The same for a create."""

    __slots__ = ("connection", "cxid", "packet", "received_ms", "tree_digest", "zxid")

    error: Final = 0

    def __init__(
        self,
        connection: "Connection | None",
        cxid: int,
        received_ms: int,
        path: str,
        data: bytes,
        parent_c_version: int,
        parent_path: str,
        node: ZNode,
        parent_digest: int,
        zxid: int,
        tree_digest: int,
        packet: bytes,
    ) -> None:
        self.connection = connection
        self.cxid = cxid
        self.received_ms = received_ms
        self.path = path
        self.data = data
        self.parent_c_version = parent_c_version
        self.parent_path = parent_path
        self.node = node
        self.parent_digest = parent_digest
        self.zxid = zxid
        self.tree_digest = tree_digest
        self.packet = packet


Usual = UsualSet | UsualCreate
