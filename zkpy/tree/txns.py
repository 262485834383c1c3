"""A txn as bytes: what goes to the log, and to every follower, unchanged.

    TxnHeader (32 bytes) ‖ the record that belongs to header.type ‖ TxnDigest (12 bytes, or nothing)

Whether the digest is there shows only by the bytes that are left behind the record. Two old forms are understood: a
create that ends before parentCVersion (3.3 and earlier), and a closeSession without a record (3.5 and earlier, or
`closeSessionTxn.enabled=false`). Sources: SerializeUtils.deserializeTxn, Util.marshallTxnEntry.
"""

from struct import Struct
from typing import Any, Final

from jute import JuteError
from zkpy.proto import opcodes
from zkpy.proto.records import CreateTxn, CreateTxnV0, TxnHeader
from zkpy.tree.datatree import TXN_RECORDS
from zkpy.tree.digest import MASK, VERSION

HEADER_SIZE: Final = 32
DIGEST_SIZE: Final = 12

#: A TxnHeader in one call.
TXN_HEADER: Final = Struct(">qiqqi")
_DIGEST: Final = Struct(">iQ")
_ZXID: Final = Struct(">q")
_INT: Final = Struct(">i")

#: What may stand inside a multi (DataTree.processTxn).
_IN_MULTI: Final = frozenset(
    (
        opcodes.CREATE,
        opcodes.CREATE2,
        opcodes.CREATE_CONTAINER,
        opcodes.CREATE_TTL,
        opcodes.DELETE,
        opcodes.DELETE_CONTAINER,
        opcodes.SET_DATA,
        opcodes.CHECK,
        opcodes.ERROR,
    )
)


def encode_txn(header: TxnHeader, txn: Any, digest: int | None) -> bytes:
    """The entry for a txn; `txn` is None for a bodiless closeSession, `digest` the tree digest after it, or None."""
    out = bytearray()
    header.encode(out)
    if txn is not None:
        txn.encode(out)
    if digest is not None:
        out += _DIGEST.pack(VERSION, digest & MASK)
    return bytes(out)


def decode_txn(entry: bytes) -> tuple[TxnHeader, Any, int | None]:
    """An entry's header, its record (None for a bodiless closeSession), and its digest.

    The digest is unsigned, as `DataTree.digest` is; None where there is none, or one of another version. Raises
    JuteError for an entry that no server may apply: unknown type (a bare check is one), or cut short.
    """
    header, at = TxnHeader.decode(entry, 0)
    type_ = header.type
    record = TXN_RECORDS.get(type_)
    if record is None or type_ == opcodes.CHECK:
        raise JuteError("TxnHeader.type", HEADER_SIZE - 4, f"unsupported type of txn {type_}")
    txn: Any
    if type_ == opcodes.CLOSE_SESSION and _is_bodiless(entry):
        txn = None
    else:
        try:
            txn, at = record.decode(entry, at)
        except JuteError:
            if type_ != opcodes.CREATE:
                raise
            txn, at = _decode_old_create(entry)
    if type_ == opcodes.MULTI:
        for sub in txn.txns or ():
            if sub.type not in _IN_MULTI:
                raise JuteError("MultiTxn.txns", HEADER_SIZE, f"unsupported type of txn {sub.type} inside a multi")
    digest = None
    if len(entry) - at >= DIGEST_SIZE:
        version, value = _DIGEST.unpack_from(entry, at)
        if version == VERSION:
            digest = value
    return header, txn, digest


def zxid_of(entry: bytes) -> int:
    """The zxid of an entry, without decoding it. The entry is at least a header long."""
    zxid: int = _ZXID.unpack_from(entry, 12)[0]
    return zxid


def _is_bodiless(entry: bytes) -> bool:
    """No record, with or without a digest. A digest alone begins with its version, 2; as a vector of two paths in the
    eight bytes left that would be two empty paths, which do not exist."""
    left = len(entry) - HEADER_SIZE
    return not left or (left == DIGEST_SIZE and _INT.unpack_from(entry, HEADER_SIZE)[0] == VERSION)


def _decode_old_create(entry: bytes) -> tuple[CreateTxn, int]:
    old, end = CreateTxnV0.decode(entry, HEADER_SIZE)
    # Minus one says: the parent's cversion plus one (DataTree.createNode).
    return CreateTxn(old.path, old.data, old.acl, old.ephemeral, -1), end
