"""Peer: this server as a voter, the only door of the package.

What it is told: `propose(entries)`, `synced(token)`. What it wants done: `ready()`. Here it leads a quorum of one,
so a proposal commits as soon as this member's own disk has it; that is the whole of ZAB for a standalone server.
"""

from zkpy.zab.history import History
from zkpy.zab.ready import Ready


class Peer:
    """The leader of an ensemble that is just itself, from the zxid its disk ends with."""

    __slots__ = ("_history",)

    def __init__(self, last_zxid: int) -> None:
        self._history = History(last_zxid)

    def propose(self, entries: list[tuple[int, bytes]]) -> None:
        """Put txns to the vote, (zxid, txn) each; zxids come without holes."""
        self._history.propose(entries)

    def synced(self, token: int) -> None:
        """The batch that came with `token`, and all before it, is on disk: our ack, and here that is a quorum's."""
        self._history.sync(token)

    def ready(self) -> Ready:
        """What is to be done now; falsy when there is nothing."""
        history = self._history
        append = history.take()
        return Ready(append, history.taken, history.commit(history.synced))
