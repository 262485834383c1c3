"""How long a holder may believe the servers, by its own clock: a deadline that comes before they expire its session.

    sent, and answered by a quorum                             the holder's deadline    the servers' expiry
      a1   a2   a3   a4 (newest)                                           │                    │
      └ the newest that is older than a4 by the servers' reporting time ───┘ a1 + 0.95 timeout  └ ≥ a1 + timeout

The servers count a session's timeout from a request's *arrival*, so who counts from its *sending* is never late. But a
follower tells the leader which sessions it has heard from only with its answers to the leader's pings, every half tick,
so a request that was answered may still be unknown to the leader when the two are cut off from each other. The
tick is at most half of the shortest timeout that servers grant (their default; a smaller minSessionTimeout breaks it),
so half of it is at most a quarter of any timeout. What was sent earlier than that before a request that a *quorum*
answered has reached the leader. That is why a lease is renewed by writes: a read is answered by a server that may be
cut off already.

The clock counts on while the machine is suspended, where the system has such a clock. A twentieth is kept for clocks
that run at different speeds.

After Chubby (Burrows, OSDI 2006), section 2.8, "Sessions and KeepAlives": the client's conservative local lease.
"""

import time
from collections import deque
from typing import Final

#: The longest time between a request's arrival at a follower and its leader's knowing, in session timeouts.
REPORTING: Final = 1 / 4
#: How long a connected kazoo client is silent at most, in session timeouts.
SILENCE: Final = 1 / 3
#: How far ahead of the servers' expiry the deadline lies, in session timeouts.
MARGIN: Final = 1 / 20
#: Time between a holder's heartbeats, in session timeouts: two within a reporting time.
HEARTBEAT: Final = 1 / 8

_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Seconds on this machine's monotonic clock, those included during which it was suspended."""
    return time.clock_gettime(_CLOCK)


class Lease:
    """The deadline of one holder. Not safe for threads: its owner locks."""

    def __init__(self, timeout_s: float, sent_s: float) -> None:
        """`timeout_s`: the session's, as negotiated. `sent_s`: when the write was sent with which the lock was taken.

        Before that the session may have been silent for as long as a living connection is, and unreported since.
        """
        self.timeout_s = timeout_s
        self._answered = deque([sent_s])
        self._basis_s = sent_s - (REPORTING + SILENCE) * timeout_s

    @property
    def deadline_s(self) -> float:
        """When (`now_s`) the holder must consider itself deposed unless it is renewed before."""
        return self._basis_s + (1 - MARGIN) * self.timeout_s

    @property
    def heartbeat_s(self) -> float:
        """Seconds from one heartbeat to the next."""
        return HEARTBEAT * self.timeout_s

    def renew(self, sent_s: float) -> None:
        """A write that was sent at this time was answered; they are answered in the order of their sending."""
        assert sent_s >= self._answered[-1]
        self._answered.append(sent_s)
        while self._answered[0] <= sent_s - REPORTING * self.timeout_s:
            self._basis_s = max(self._basis_s, self._answered.popleft())
