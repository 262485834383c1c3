"""Who holds a lock, since when and under which token, and who waits for it: read by anybody, from the servers alone.

Contenders of kazoo's and Curator's are told, too, with what they say of themselves; when they got the lock is not known
of them, as they leave no sign of it.

After Chubby (Burrows, OSDI 2006), section 2.3 (node meta-data) and 2.4.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, SessionExpiredError

from zkpy.recipes.asking import PAUSE_S, UNSURE, OutOfTime, ask, is_closed
from zkpy.recipes.contenders import Contender, Queue, in_order
from zkpy.recipes.lease import now_s
from zkpy.recipes.sequencer import HELD_VERSION, Mode, Sequencer, join

#: What a semaphore's place is called, ours and kazoo's alike.
PLACE = re.compile(r"[0-9a-f]{32}")
#: Where those who wait for a semaphore stand in line, beside its path.
SEMAPHORE_LOCK = "-__lock__"


@dataclass(frozen=True)
class Standee:
    """A holder or a waiting contender."""

    #: What it says of itself: host and process unless told otherwise; "" if it says nothing.
    owner: str
    mode: Mode
    #: czxid of its znode.
    token: int
    #: Name of its znode below the lock's path.
    node: str
    #: Its session, a signed 64-bit number; 0 if the znode is not ephemeral.
    session_id: int
    #: Since when it has been in line: milliseconds since 1970, on the servers' clock.
    since_ms: int
    #: Since when it has held the lock, likewise; None if it does not, or leaves no sign of it (kazoo, Curator).
    held_since_ms: int | None
    #: The lock-delay it asks for, in seconds.
    lock_delay_s: float


@dataclass(frozen=True)
class Standings:
    """One lock at one moment."""

    path: str
    holders: tuple[Standee, ...]
    #: In the order in which they will get it.
    waiters: tuple[Standee, ...]

    def sequencer_of(self, standee: Standee) -> Sequencer:
        """The sequencer of one of the holders."""
        return Sequencer(self.path, standee.mode, standee.token, standee.node)


def who(client: KazooClient, path: str, timeout_s: float | None = None) -> Standings:
    """The holders and waiters of the lock, semaphore or election at `path`; nobody if there is no such znode.

    A holder that is about to change may be told as the old or the new one. Raises TimeoutError after `timeout_s`
    seconds without an answer.
    """
    until_s = None if timeout_s is None else now_s() + timeout_s
    path = "/" + path.strip("/")
    while True:
        try:
            ask(client, lambda: client.sync_async(path), until_s)
            children = _children(client, path, until_s)
            places = [name for name in children if PLACE.fullmatch(name)]
            if places:
                waiting = _in_line(client, path + SEMAPHORE_LOCK, until_s)
                holders = [_read(client, path, Contender(name, Mode.PLACE, 0, ""), until_s) for name in places]
                held = sorted((holder for holder in holders if holder), key=lambda standee: standee.token)
                return Standings(path, tuple(held), tuple(standee for standee, _ in waiting))
            line = _in_line(client, path, until_s)
            return Standings(
                path,
                tuple(standee for standee, is_holder in line if is_holder),
                tuple(standee for standee, is_holder in line if not is_holder),
            )
        except SessionExpiredError as error:
            if is_closed(error):
                raise
            time.sleep(PAUSE_S)
        except UNSURE:
            time.sleep(PAUSE_S)
        except OutOfTime:
            raise TimeoutError(f"the servers did not answer within {timeout_s} s") from None


def _children(client: KazooClient, path: str, until_s: float | None) -> list[str]:
    try:
        return list(ask(client, lambda: client.get_children_async(path), until_s))
    except NoNodeError:
        return []


def _in_line(client: KazooClient, path: str, until_s: float | None) -> list[tuple[Standee, bool]]:
    """The contenders in their order, with whether each one holds."""
    queue = Queue(_children(client, path, until_s))
    line = []
    for contender in in_order(queue.contenders):
        twins = queue.of(contender.contender_id) if contender.contender_id else []
        if twins and contender != twins[-1]:
            continue  # of ours the second one tells
        standee = _read(client, path, contender, until_s)
        if standee is None:
            continue
        is_ours = len(twins) > 1
        is_free = queue.in_the_way_of(twins[0] if twins else contender) is None
        line.append((standee, standee.held_since_ms is not None if is_ours else is_free))
    return line


def _read(client: KazooClient, path: str, contender: Contender, until_s: float | None) -> Standee | None:
    try:
        data, stat = ask(client, lambda: client.get_async(join(path, contender.name)), until_s)
    except NoNodeError:
        return None
    told = _told(data)
    is_held = "lock_delay_s" in told and stat.version == HELD_VERSION
    return Standee(
        owner=str(told.get("owner", "")),
        mode=contender.mode,
        token=stat.czxid,
        node=contender.name,
        session_id=stat.ephemeralOwner,
        since_ms=stat.ctime,
        held_since_ms=stat.mtime if is_held else None,
        lock_delay_s=float(told.get("lock_delay_s", 0.0)),
    )


def _told(data: bytes) -> dict[str, Any]:
    """What a contender of ours says of itself, or the text that another's says."""
    try:
        told = json.loads(data)
        if isinstance(told, dict) and {"owner", "mode", "lock_delay_s"} <= told.keys():
            return told
    except ValueError:
        pass
    return {"owner": data.decode(errors="replace")}
