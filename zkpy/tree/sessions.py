"""Replicated sessions: their persisted timeouts, and the ephemerals each of them owns.

A session is here from the apply of its createSession txn to the apply of its closeSession txn. When it expires is
decided elsewhere (`zkpy.keeper.expiry`); this table only follows the txns.
"""


class SessionTable:
    """`timeouts`: session id → ms as negotiated at creation. `ephemerals`: session id → paths, in order of creation."""

    __slots__ = ("ephemerals", "timeouts")

    def __init__(self) -> None:
        self.timeouts: dict[int, int] = {}
        # invariant: no empty inner dict; every path in here is a znode owned by that session
        self.ephemerals: dict[int, dict[str, None]] = {}

    def own(self, session_id: int, path: str) -> None:
        """Note that the session owns the ephemeral at `path`."""
        self.ephemerals.setdefault(session_id, {})[path] = None

    def disown(self, session_id: int, path: str) -> None:
        """Note that the ephemeral at `path` is gone."""
        paths = self.ephemerals.get(session_id)
        if paths is not None:
            paths.pop(path, None)
            if not paths:
                del self.ephemerals[session_id]

    def orphans(self) -> list[int]:
        """Sessions that own ephemerals but are not in the table (possible after loading a fuzzy snapshot)."""
        return [session_id for session_id in self.ephemerals if session_id not in self.timeouts]
