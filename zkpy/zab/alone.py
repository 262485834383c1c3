"""Alone: the leader of an ensemble that is just itself: no election, links or epochs; its own disk is the quorum."""

from zkpy.zab.ready import OWN, Entry
from zkpy.zab.role import Role


class Alone(Role):
    """Leading a quorum of one, for as long as the process lives."""

    __slots__ = ()

    def propose(self, entries: list[Entry]) -> None:
        self.peer.history.propose(entries)

    def synced(self) -> None:
        history = self.peer.history
        self.peer.commit(history.synced)

    def sync(self, link: int) -> None:
        assert link == OWN, f"link {link} of a server that is alone"
        self.peer.out.syncs += 1
