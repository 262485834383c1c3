"""The body of a multi, read operation by operation.

    MultiHeader{type, done=0, err=-1} ‖ that operation's request ‖ … ‖ MultiHeader{-1, done=1, -1}

What is wrong is met in Apache's order, for with several faults the first decides whether a zxid is taken.
Sources: MultiOperationRecord.deserialize, Op.create, PrepRequestProcessor.getPendingChanges.
"""

from struct import Struct
from struct import error as StructError
from typing import Any, Final

from jute import JuteError
from zkpy.keeper.requests import Undecodable
from zkpy.proto import opcodes
from zkpy.proto.records import (
    CheckVersionRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    GetDataRequest,
    SetDataRequest,
)

#: A MultiHeader: type, done, err.
_HEADER: Final = Struct(">i?i")
_CREATES: Final = frozenset((opcodes.CREATE, opcodes.CREATE2, opcodes.CREATE_CONTAINER))
#: What Apache's decoder understands and no multi carries out; both requests look the same.
_READS: Final = frozenset((opcodes.GET_DATA, opcodes.GET_CHILDREN))


def decode_multi(frame: bytes) -> list[tuple[int, Any]]:
    """The operations of the multi in `frame` as (type, body). Raises Undecodable."""
    operations: list[tuple[int, Any]] = []
    at = 8
    try:
        type_, done, _ = _HEADER.unpack_from(frame, at)
        while not done:
            type_, body, at = _decode_operation(type_, frame, at + _HEADER.size)
            operations.append((type_, body))
            if (type_ in _READS) != (operations[0][0] in _READS):
                raise Undecodable(takes_zxid=True)
            type_, done, _ = _HEADER.unpack_from(frame, at)
    except (JuteError, StructError):
        raise Undecodable(takes_zxid=True) from None
    # Apache stumbles over these only when it has read all of it.
    if any(type_ in _READS or body.path is None for type_, body in operations):
        raise Undecodable(takes_zxid=True)
    return operations


def _decode_operation(type_: int, frame: bytes, at: int) -> tuple[int, Any, int]:
    """One operation of a multi: its type as it will be logged, its body, and the offset behind it."""
    body: Any
    if type_ in _CREATES:
        body, at = CreateRequest.decode(frame, at)
        if body.flags not in opcodes.CREATE_FLAGS or (body.flags in opcodes.TTL_FLAGS and body.acl is not None):
            raise Undecodable(takes_zxid=True)
        if body.acl is None:
            raise Undecodable
        if body.flags == opcodes.CONTAINER:
            type_ = opcodes.CREATE_CONTAINER
    elif type_ == opcodes.CREATE_TTL:
        body, at = CreateTTLRequest.decode(frame, at)
        if body.flags not in opcodes.TTL_FLAGS:
            type_ = opcodes.CREATE_CONTAINER if body.flags == opcodes.CONTAINER else opcodes.CREATE
    elif type_ == opcodes.DELETE:
        body, at = DeleteRequest.decode(frame, at)
    elif type_ == opcodes.SET_DATA:
        body, at = SetDataRequest.decode(frame, at)
    elif type_ == opcodes.CHECK:
        body, at = CheckVersionRequest.decode(frame, at)
    elif type_ in _READS:
        body, at = GetDataRequest.decode(frame, at)
    else:
        raise Undecodable(takes_zxid=True)
    return type_, body, at
