"""The numbers of the client protocol: request types, create flags, permissions, special xids.

The request types are also the types of txns and of a multi's parts and results. Source: Apache's `ZooDefs`,
`CreateMode`, `Watcher.WatcherType`.
"""

from __future__ import annotations

from typing import Final

# Request types

NOTIFICATION: Final = 0  # never sent
CREATE: Final = 1
DELETE: Final = 2
EXISTS: Final = 3
GET_DATA: Final = 4
SET_DATA: Final = 5
GET_ACL: Final = 6
SET_ACL: Final = 7
GET_CHILDREN: Final = 8
SYNC: Final = 9
PING: Final = 11
GET_CHILDREN2: Final = 12
CHECK: Final = 13  # only inside a multi
MULTI: Final = 14
CREATE2: Final = 15
RECONFIG: Final = 16
CHECK_WATCHES: Final = 17
REMOVE_WATCHES: Final = 18
CREATE_CONTAINER: Final = 19
DELETE_CONTAINER: Final = 20  # made by the leader, not by clients
CREATE_TTL: Final = 21
MULTI_READ: Final = 22
AUTH: Final = 100
SET_WATCHES: Final = 101
SASL: Final = 102
GET_EPHEMERALS: Final = 103
GET_ALL_CHILDREN_NUMBER: Final = 104
SET_WATCHES2: Final = 105
ADD_WATCH: Final = 106
WHO_AM_I: Final = 107
CREATE_SESSION: Final = -10  # made by the server, from a handshake
CLOSE_SESSION: Final = -11
ERROR: Final = -1  # a txn of a refused write; a failed part of a multi

# Apache's names, as its logs and metrics print them (`Request.op2String`).
NAMES: Final[dict[int, str]] = {
    NOTIFICATION: "notification",
    CREATE: "create",
    DELETE: "delete",
    EXISTS: "exists",
    GET_DATA: "getData",
    SET_DATA: "setData",
    GET_ACL: "getACL",
    SET_ACL: "setACL",
    GET_CHILDREN: "getChildren",
    SYNC: "sync",
    PING: "ping",
    GET_CHILDREN2: "getChildren2",
    CHECK: "check",
    MULTI: "multi",
    CREATE2: "create2",
    RECONFIG: "reconfig",
    CHECK_WATCHES: "checkWatches",
    REMOVE_WATCHES: "removeWatches",
    CREATE_CONTAINER: "createContainer",
    DELETE_CONTAINER: "deleteContainer",
    CREATE_TTL: "createTTL",
    MULTI_READ: "multiRead",
    AUTH: "auth",
    SET_WATCHES: "setWatches",
    SASL: "sasl",
    GET_EPHEMERALS: "getEphemerals",
    GET_ALL_CHILDREN_NUMBER: "getAllChildrenNumber",
    SET_WATCHES2: "setWatches2",
    ADD_WATCH: "addWatch",
    WHO_AM_I: "whoAmI",
    CREATE_SESSION: "createSession",
    CLOSE_SESSION: "closeSession",
    ERROR: "error",
}


def name_of(opcode: int) -> str:
    """The name for logs; "unknown 99" for a number that is no request type."""
    return NAMES.get(opcode) or f"unknown {opcode}"


# Create flags: what kind of znode, and whether its name gets a number

PERSISTENT: Final = 0
EPHEMERAL: Final = 1
PERSISTENT_SEQUENTIAL: Final = 2
EPHEMERAL_SEQUENTIAL: Final = 3
CONTAINER: Final = 4
PERSISTENT_TTL: Final = 5
PERSISTENT_SEQUENTIAL_TTL: Final = 6
CREATE_FLAGS: Final = frozenset(range(7))
EPHEMERAL_FLAGS: Final = frozenset((EPHEMERAL, EPHEMERAL_SEQUENTIAL))
SEQUENTIAL_FLAGS: Final = frozenset((PERSISTENT_SEQUENTIAL, EPHEMERAL_SEQUENTIAL, PERSISTENT_SEQUENTIAL_TTL))
TTL_FLAGS: Final = frozenset((PERSISTENT_TTL, PERSISTENT_SEQUENTIAL_TTL))

# Permissions: bits of ACL.perms

PERM_READ: Final = 1
PERM_WRITE: Final = 2
PERM_CREATE: Final = 4
PERM_DELETE: Final = 8
PERM_ADMIN: Final = 16
PERM_ALL: Final = 31

# Xids that are not a client's own count

XID_EVENT: Final = -1
XID_PING: Final = -2
XID_AUTH: Final = -4
XID_SET_WATCHES: Final = -8

# Modes of addWatch

ADD_WATCH_PERSISTENT: Final = 0
ADD_WATCH_PERSISTENT_RECURSIVE: Final = 1

# Types in checkWatches and removeWatches

WATCHER_CHILDREN: Final = 1
WATCHER_DATA: Final = 2
WATCHER_ANY: Final = 3
WATCHER_PERSISTENT: Final = 4
WATCHER_PERSISTENT_RECURSIVE: Final = 5
