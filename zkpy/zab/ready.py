"""Ready: what the driver must do now. Its fields are in the order in which they must be carried out.

    append     to the log, then sync, then `Peer.synced(token)`: nothing is acknowledged before that
    committed  to apply, in zxid order

The order is the safety argument: whoever carries out a Ready from top to bottom cannot acknowledge a write that a
crash would lose.
"""


class Ready:
    """One batch of work. `append`: (zxid, txn bytes) in zxid order; `token` names the batch for `Peer.synced`."""

    __slots__ = ("append", "committed", "token")

    def __init__(self, append: list[tuple[int, bytes]], token: int, committed: list[tuple[int, bytes]]) -> None:
        self.append = append
        self.token = token
        self.committed = committed

    def __bool__(self) -> bool:
        return bool(self.append or self.committed)
