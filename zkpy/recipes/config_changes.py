"""Changes of several keys as one transaction: all of them happen, or none.

    what is wanted + the snapshot as known ─→ operations ─→ multi ─┬─ all done
                                                                   └─ one refused: a Conflict, or the snapshot is old

Its law: the servers judge. The snapshot only says whether a key is to be created or set; if it is out of date an
operation is refused, nothing has happened, and the caller tries again with a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)

from zkpy.recipes.config_values import ABSENT, ConfigError, Conflict, Snapshot, is_below

#: What servers take as one request unless they are told otherwise (jute.maxbuffer is 1,048,575 bytes).
REQUEST_BYTES: Final = 1_048_575
#: What an operation takes in a request beside path and value: headers, lengths, an ACL, flags. Rather too much.
OVERHEAD_BYTES: Final = 96


class TooLarge(ConfigError):
    """The change does not fit into one transaction; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a transaction, on one key."""

    kind: Literal["create", "set", "delete", "check"]
    key: str
    value: bytes = b""
    #: The version there must be, -1 for any.
    version: int = -1


def plan(
    wanted: Mapping[str, bytes | None], if_versions: Mapping[str, int], snapshot: Snapshot, root: str
) -> list[Operation]:
    """The operations that make `wanted` (None deletes) of the snapshot, and hold only at these versions.

    Keys above those to be created are created, too. Raises ConfigError for a key to be deleted that has keys below it
    which are to stay, and Conflict where the snapshot shows one.
    """
    operations: list[Operation] = []
    created: set[str] = set()

    def create(key: str, value: bytes) -> None:
        if key:
            above = key.rpartition("/")[0]
            if above not in snapshot and above not in created and wanted.get(above) is None:
                create(above, b"")
        operations.append(Operation("create", key, value))
        created.add(key)

    for key, version in if_versions.items():
        if key not in wanted:
            if version == ABSENT:
                raise ValueError(f"{key!r} can be asked to be absent only where it is created")
            operations.append(Operation("check", key, version=version))
    # What is above comes first; what is deleted goes from the bottom up, after all the rest.
    for key in sorted(wanted):
        value = wanted[key]
        if value is None:
            continue
        expected = if_versions.get(key)
        exists = key in snapshot if expected is None else expected != ABSENT
        if exists:
            operations.append(Operation("set", key, value, -1 if expected is None else expected))
        elif key not in created:
            create(key, value)
    for key in sorted((key for key, value in wanted.items() if value is None), reverse=True):
        expected = if_versions.get(key)
        if expected == ABSENT:
            raise ValueError(f"{key!r} cannot be both absent and deleted")
        for below in {*snapshot, *wanted}:
            stays = wanted[below] is not None if below in wanted else True
            if below != key and is_below(below, key) and stays:
                raise ConfigError(f"{key!r} cannot be deleted alone: {below!r} is below it")
        if key not in snapshot:
            if expected is not None:
                raise Conflict(key, expected, ABSENT)
            continue
        operations.append(Operation("delete", key, version=-1 if expected is None else expected))
    if root == "/" and any(operation.key == "" and operation.kind in ("create", "delete") for operation in operations):
        raise ConfigError("the root of all nodes is neither created nor deleted")
    return operations


def size_of(operations: list[Operation], root: str) -> int:
    """How many bytes the request takes, at most."""
    return sum(
        OVERHEAD_BYTES + len(path_of(root, operation.key).encode()) + len(operation.value) for operation in operations
    )


def path_of(root: str, key: str) -> str:
    """The path of a key."""
    return root if not key else f"{root.rstrip('/')}/{key}"


def transaction_of(client: KazooClient, operations: list[Operation], root: str) -> Any:
    """The operations as a transaction of kazoo's. Raises TooLarge."""
    size = size_of(operations, root)
    if size > REQUEST_BYTES:
        raise TooLarge(
            f"{len(operations)} operations of {size} bytes together do not fit into a request's {REQUEST_BYTES}"
        )
    transaction = client.transaction()
    for operation in operations:
        path = path_of(root, operation.key)
        if operation.kind == "create":
            transaction.create(path, operation.value)
        elif operation.kind == "set":
            transaction.set_data(path, operation.value, operation.version)
        elif operation.kind == "delete":
            transaction.delete(path, operation.version)
        else:
            transaction.check(path, operation.version)
    return transaction


def judge(operations: list[Operation], results: list[Any], if_versions: Mapping[str, int]) -> bool:
    """True if all was done; False if the snapshot it was planned by is out of date.

    Raises Conflict where a key was not at the version asked for, and kazoo's error for anything else.
    """
    for operation, result in zip(operations, results, strict=True):
        if isinstance(result, RolledBackError | RuntimeInconsistency) or not isinstance(result, Exception):
            continue
        expected = if_versions.get(operation.key)
        if isinstance(result, NodeExistsError | NoNodeError | BadVersionError):
            if expected is not None and (operation.kind != "create" or isinstance(result, NodeExistsError)):
                raise Conflict(operation.key, expected, ABSENT if isinstance(result, NoNodeError) else None)
            return False
        if isinstance(result, NotEmptyError):
            return False
        raise result
    return True
