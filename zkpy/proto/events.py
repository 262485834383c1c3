"""The two numbers of a watch event: what happened, and how the keeper stands.

A server sends only the first four types, and only SYNC_CONNECTED; client libraries make up the others for themselves.
Source: Apache's `Watcher.Event`.
"""

from __future__ import annotations

from typing import Final

# Event types

NONE: Final = -1
NODE_CREATED: Final = 1
NODE_DELETED: Final = 2
NODE_DATA_CHANGED: Final = 3
NODE_CHILDREN_CHANGED: Final = 4
DATA_WATCH_REMOVED: Final = 5
CHILD_WATCH_REMOVED: Final = 6
PERSISTENT_WATCH_REMOVED: Final = 7

EVENT_NAMES: Final[dict[int, str]] = {
    NONE: "None",
    NODE_CREATED: "NodeCreated",
    NODE_DELETED: "NodeDeleted",
    NODE_DATA_CHANGED: "NodeDataChanged",
    NODE_CHILDREN_CHANGED: "NodeChildrenChanged",
    DATA_WATCH_REMOVED: "DataWatchRemoved",
    CHILD_WATCH_REMOVED: "ChildWatchRemoved",
    PERSISTENT_WATCH_REMOVED: "PersistentWatchRemoved",
}

# Keeper states

UNKNOWN: Final = -1
DISCONNECTED: Final = 0
NO_SYNC_CONNECTED: Final = 1
SYNC_CONNECTED: Final = 3
AUTH_FAILED: Final = 4
CONNECTED_READ_ONLY: Final = 5
SASL_AUTHENTICATED: Final = 6
CLOSED: Final = 7
EXPIRED: Final = -112

STATE_NAMES: Final[dict[int, str]] = {
    UNKNOWN: "Unknown",
    DISCONNECTED: "Disconnected",
    NO_SYNC_CONNECTED: "NoSyncConnected",
    SYNC_CONNECTED: "SyncConnected",
    AUTH_FAILED: "AuthFailed",
    CONNECTED_READ_ONLY: "ConnectedReadOnly",
    SASL_AUTHENTICATED: "SaslAuthenticated",
    CLOSED: "Closed",
    EXPIRED: "Expired",
}
