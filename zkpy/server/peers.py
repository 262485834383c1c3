"""What a member's decisions mean for the other servers: each Ready's words go to the election port and to the links.

    standing   leading ─→ listen on the quorum port; anything else ─→ stop, for a refused connection tells learners so
    snaps, send, close, dial, reads ─→ `quorum_links`        notify ─→ `election_links`

All of it happens within the turn and waits for nothing. What is said to a link is gathered until `flush`, since each
send wakes the other member; a patient word waits for the next one to its link even longer, until `hasten`. It may
leave before the disk work of the same Ready: what must not leave before that is durable is not in it.
"""

from collections.abc import Callable
from typing import Final

from zkpy.proto.notification import LEADING
from zkpy.server.election_links import ElectionLinks
from zkpy.server.logs import get_log
from zkpy.server.quorum_links import QuorumLinks
from zkpy.tree.datatree import DataTree
from zkpy.zab.ready import Ready

log = get_log("zkpy.zab")


class Peers:
    """Both ports of one member."""

    __slots__ = ("_tree", "election", "quorum")

    def __init__(self, election: ElectionLinks, quorum: QuorumLinks, tree: Callable[[], DataTree]) -> None:
        """`tree` gives the tree as it is now, for learners that get all of it."""
        self.election = election
        self.quorum = quorum
        self._tree = tree

    def carry_out(self, ready: Ready) -> None:
        """Do what a Ready says to others. What is committed in it must have been applied."""
        quorum = self.quorum
        standing = ready.standing
        if standing is not None:
            if standing.role == LEADING:
                quorum.listen()
            else:
                quorum.stop_listening()
        for number, packet in ready.snaps:
            quorum.send_snap(number, packet, self._tree())
        quorum.send(ready.send, ready.patient)
        for sid, message in ready.notify:
            self.election.send(sid, message)
        for sid in ready.dial:
            quorum.dial(sid)
        for number in ready.close:
            quorum.close(number)
        for number, first, last in ready.reads:
            quorum.read(number, first, last)
        for level, event, fields in ready.notes:
            _LEVELS[level](event, **fields)

    def flush(self) -> bool:
        """Send what was gathered. True if a link broke, of which the Peer knows."""
        return self.quorum.flush()

    @property
    def is_patient(self) -> bool:
        """Is there a word that `flush` leaves, to go with the next one to its link?"""
        return self.quorum.is_patient

    def hasten(self) -> bool:
        """Send these too. True if a link broke."""
        return self.quorum.hasten()

    @property
    def has_rest(self) -> bool:
        """Do tasks of links have something to send between the turns?"""
        return self.quorum.has_rest

    def close(self) -> None:
        """The server ends."""
        self.quorum.close_all()


_LEVELS: Final[dict[str, Callable[..., None]]] = {"info": log.info, "warning": log.warning, "error": log.error}
