"""Lock-delays: after a holder failed, nobody gets the lock for as long as that holder chose.

    taken: a marker is made ──→ released: the same transaction deletes holder and marker, no delay
                          └──→ failed: the marker stays without its holder; the next one finds it, waits, and deletes it

The marker is persistent, so it outlives the session. Whoever finds one without its holder waits from the moment of
finding it, on its own monotonic clock: no clock of another machine, and none that can be set, has a say. If it fails
itself while it waits, the next one waits anew; the delay is never shorter than its holder chose. Contenders of kazoo's
and Curator's know no markers.

After Chubby (Burrows, OSDI 2006), section 2.4: lock-delay, up to one minute.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from zkpy.recipes.sequencer import Mode, join

#: The longest lock-delay that a holder may choose, Chubby's.
MAX_LOCK_DELAY_S: Final = 60.0


def checked_delay(lock_delay_s: float) -> float:
    """The lock-delay, if it is one. Raises ValueError if not."""
    if not 0 <= lock_delay_s <= MAX_LOCK_DELAY_S:
        raise ValueError(f"a lock-delay is 0 to {MAX_LOCK_DELAY_S:.0f} seconds, not {lock_delay_s}")
    return float(lock_delay_s)


class Delays:
    """The markers without holders that one contender has found."""

    def __init__(self, client: KazooClient, directory: str, on_change: Callable[[Any], None]) -> None:
        """`directory`: where the markers are. `on_change` is called when one is deleted."""
        self._client = client
        self._directory = directory
        self._on_change = on_change
        #: Name → until when it is waited for, and how its holder held the lock.
        self._found: dict[str, tuple[float, Mode]] = {}

    def read(self, names: list[str], found_s: float, ask: Callable[[Callable[[], Any]], Any]) -> None:
        """Learn of markers whose holders were seen to be gone at `found_s`. `ask` gives the result of a request."""
        for name in names:
            if name in self._found:
                continue
            try:
                data, _ = ask(partial(self._client.get_async, join(self._directory, name), watch=self._on_change))
            except NoNodeError:  # it was released meanwhile, or an operator knows better
                self._found[name] = (found_s, Mode.SHARED)
            else:
                delay_s, mode = marked(data)
                self._found[name] = (found_s + delay_s, mode)

    def left_s(self, names: list[str], mode: Mode, now_s: float) -> float:
        """For how many seconds more these markers keep out who wants the lock in this mode; 0.0 or less: no more."""
        return max(
            (until_s - now_s for until_s, held in map(self._found.__getitem__, names) if held.excludes(mode)),
            default=0.0,
        )

    def over(self, names: list[str], now_s: float) -> list[str]:
        """Those of these markers that have been waited out, and can be deleted."""
        return [name for name in names if self._found[name][0] <= now_s]


def marked(data: bytes) -> tuple[float, Mode]:
    """The lock-delay in seconds and the mode that a marker tells of; the worst of both if it cannot be read."""
    try:
        told = json.loads(data)
        return min(max(float(told["lock_delay_s"]), 0.0), MAX_LOCK_DELAY_S), Mode(told["mode"])
    except (ValueError, TypeError, KeyError):
        return MAX_LOCK_DELAY_S, Mode.EXCLUSIVE
