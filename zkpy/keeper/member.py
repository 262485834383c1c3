"""Member: what leading and learning have in common, seen from the clients of one member of an ensemble.

A sync of a client here is answered when the ensemble says so, oldest first: it waits in its connection's order like a
write, but no txn comes of it.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from jute import JuteError
from zkpy.keeper.requests import Request
from zkpy.proto import errors
from zkpy.proto.records import SyncRequest

if TYPE_CHECKING:
    from zkpy.keeper.keeper import Keeper

#: Stands for the zxid of a request that is under way and whose zxid, if it gets one, is not known here.
UNDER_WAY: Final = -1


@attrs.frozen
class Membership:
    """What a member knows of its ensemble, under the names of the metrics; all but the first two are the leader's."""

    leader: int
    quorum_size: int
    learners: int = 0
    synced_followers: int = 0
    synced_non_voting_followers: int = 0
    synced_observers: int = 0
    pending_syncs: int = 0
    learner_sids: tuple[int, ...] = ()


class Member:
    """A part of a Keeper, from one standing of its server to the next."""

    __slots__ = ("_syncs", "keeper")

    def __init__(self, keeper: "Keeper") -> None:
        self.keeper = keeper
        self._syncs: deque[Request] = deque()

    def _await_sync(self, request: Request) -> bool:
        """Let a sync wait for `synced`. False if it cannot be decoded: its `error` is set."""
        try:
            SyncRequest.decode(request.frame, 8)
        except JuteError:
            request.error = errors.MARSHALLINGERROR
            return False
        request.zxid = UNDER_WAY
        self._syncs.append(request)
        return True

    def synced(self, count: int) -> None:
        """So many of the oldest syncs are answered: all that was committed before them is applied here.

        One that stands in front of a write of its own session was answered with that write, if it came first.
        """
        for _ in range(count):
            request = self._syncs.popleft()
            request.zxid = 0
            client = request.connection
            if client is not None and not client.closing:
                self.keeper.answer_waiting(client)
