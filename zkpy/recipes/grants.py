"""A grant: a lock while it is held, watched over by a thread of its own.

    HELD ⇄ JEOPARDY ──→ LOST           HELD, JEOPARDY ──→ RELEASED
         │       │        └ deadline passed, session expired, or the znode deleted by somebody: never held again
         │       └ the connection is lost, or an answer overdue; the lease runs on
         └ a quorum of servers answers

Law: once anybody has been told that a grant is not held, nobody is told again that it is. Whether it is held is asked
of the clock each time, not of the thread, which may be as late as the process.

After Chubby (Burrows, OSDI 2006), section 2.8: jeopardy, safe and expired events, and the grace period, which here is
the rest of the lease.
"""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException, NoNodeError, SessionExpiredError
from kazoo.protocol.states import KazooState

from zkpy.recipes.asking import PAUSE_S, SLICE_S, UNSURE, OutOfTime, is_closed, verdict
from zkpy.recipes.errors import NotHeld
from zkpy.recipes.guards import GuardedTransaction, check_sequencer
from zkpy.recipes.lease import Lease, now_s
from zkpy.recipes.sequencer import HELD_VERSION, Sequencer
from zkpy.recipes.traces import Traces

#: An answer that takes longer than this puts the grant in jeopardy, in session timeouts.
OVERDUE = 1 / 4


class Standing(Enum):
    """What a grant is worth at this moment."""

    HELD = "held"
    JEOPARDY = "in jeopardy"
    LOST = "lost"
    RELEASED = "released"


class EventKind(Enum):
    """What can happen to a leader or a holder, in Chubby's words where it has them."""

    ELECTED = "elected"
    JEOPARDY = "in jeopardy"
    SAFE = "safe again"
    LOST = "lost"


@dataclass(frozen=True)
class Event:
    """Something that happened to a grant."""

    kind: EventKind
    sequencer: Sequencer
    #: When, in seconds on the clock of `lease.now_s`.
    at_s: float
    #: Why, in words for people.
    reason: str


class Grant:
    """A lock that was acquired; a context manager that releases it. Made by locks, elections and semaphores alone.

    All methods may be called from any thread.
    """

    def __init__(
        self,
        client: KazooClient,
        sequencer: Sequencer,
        lease: Lease,
        session_id: int,
        traces: Traces,
        known: Sequence[str],
    ) -> None:
        """`known`: paths of all that the contender has at the servers, which `traces` finds again if need be."""
        self.sequencer = sequencer
        #: The session that holds it, 64 bits with a sign.
        self.session_id = session_id
        self._client = client
        self._lease = lease
        self._traces = traces
        self._known = known
        self._mutex = threading.Lock()
        self._standing = Standing.HELD
        self._reason = ""
        self._over = threading.Event()
        self._wake = threading.Event()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._is_watching = False
        self._is_session_over = False
        client.add_listener(self._on_connection)
        self._keeper = threading.Thread(target=self._keep, name=f"keep {sequencer.path}", daemon=True)
        self._keeper.start()

    @property
    def token(self) -> int:
        """The sequencer's token."""
        return self.sequencer.token

    @property
    def session_timeout_s(self) -> float:
        """The session's timeout as negotiated, in seconds."""
        return self._lease.timeout_s

    @property
    def standing(self) -> Standing:
        """What it is worth, by the clock of now."""
        with self._mutex:
            return self._judge()

    @property
    def reason(self) -> str:
        """Why it is in jeopardy, lost or released; "" while it is held."""
        with self._mutex:
            return self._reason

    def is_held(self) -> bool:
        """May the holder act? False from its local deadline on, however cut off or paused it was before.

        A process can be paused right after it asked: what it then does late is for a fence, a guarded transaction or a
        lock-delay to stop.
        """
        return self.standing in (Standing.HELD, Standing.JEOPARDY)

    def remaining_s(self) -> float:
        """Seconds from now to the local deadline, as renewed last; 0.0 once it is not held."""
        with self._mutex:
            if self._judge() not in (Standing.HELD, Standing.JEOPARDY):
                return 0.0
            return max(0.0, self._lease.deadline_s - now_s())

    def check(self, timeout_s: float | None = None) -> bool:
        """Does it still hold, as the servers see it? See `check_sequencer`."""
        return check_sequencer(self._client, self.sequencer, timeout_s)

    def transaction(self) -> GuardedTransaction:
        """A transaction that the servers carry out only while the lock is held.

        Raises NotHeld if it is known already that it is not.
        """
        if not self.is_held():
            raise NotHeld(f"{self.sequencer} is {self.standing.value}: {self.reason}")
        return GuardedTransaction(self._client, self.sequencer)

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """The next event that no call has given yet, in order; None if there is none within `timeout_s` seconds.

        The last one is LOST, which a release gives, too.
        """
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def wait_lost(self, timeout_s: float | None = None) -> bool:
        """Wait until it is lost or released; False if it is still held after `timeout_s` seconds."""
        return self._over.wait(timeout_s)

    def release(self, timeout_s: float | None = None) -> bool:
        """Give it up, without lock-delay; True once the servers have confirmed it.

        From the call on it is not held. False: it had been lost before, or the servers did not answer within
        `timeout_s` (the session's timeout if None); the release then goes on in the background.
        """
        with self._mutex:
            if self._judge() not in (Standing.HELD, Standing.JEOPARDY):
                return False
            self._end(Standing.RELEASED, "released")
        until_s = now_s() + (self._lease.timeout_s if timeout_s is None else timeout_s)
        try:
            self._traces.remove(with_marker=True, until_s=until_s, known=self._known)
        except OutOfTime:
            self._traces.remove_later(with_marker=True)
            return False
        return True

    def __enter__(self) -> "Grant":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Grant {self.sequencer} {self.standing.value}>"

    # The keeper, and what it is told. Whatever ends with "with the mutex held" expects that of its caller.

    def _judge(self) -> Standing:
        """The standing, by the clock; with the mutex held."""
        if self._standing in (Standing.HELD, Standing.JEOPARDY) and now_s() >= self._lease.deadline_s:
            self._end(Standing.LOST, "the local deadline has passed without an answer of the servers")
        return self._standing

    def _end(self, standing: Standing, reason: str) -> None:
        """It is over; with the mutex held."""
        self._standing, self._reason = standing, reason
        self._put(EventKind.LOST)
        self._over.set()
        self._wake.set()

    def _put(self, kind: EventKind) -> None:
        self._events.put(Event(kind, self.sequencer, now_s(), self._reason))

    def _endanger(self, reason: str) -> None:
        with self._mutex:
            if self._judge() is Standing.HELD:
                self._standing, self._reason = Standing.JEOPARDY, reason
                self._put(EventKind.JEOPARDY)

    def _renew(self, sent_s: float) -> None:
        with self._mutex:
            if self._judge() not in (Standing.HELD, Standing.JEOPARDY):
                return
            self._lease.renew(sent_s)
            if self._standing is Standing.JEOPARDY:
                self._standing, self._reason = Standing.HELD, ""
                self._put(EventKind.SAFE)

    def _lose(self, reason: str) -> None:
        with self._mutex:
            if self._judge() in (Standing.HELD, Standing.JEOPARDY):
                self._end(Standing.LOST, reason)

    def _lose_session(self, reason: str) -> None:
        self._is_session_over = True  # and all that was ephemeral with it: there is nothing to clear up
        self._lose(reason)

    def _on_connection(self, state: Any) -> None:
        if state == KazooState.SUSPENDED:
            self._endanger("the connection is lost")
            self._is_watching = False
        elif state == KazooState.LOST:
            self._lose_session("the session has expired, or the client was stopped")

    def _on_znode(self, event: Any) -> None:
        self._is_watching = False
        self._wake.set()

    def _keep(self) -> None:
        """Renew the lease until it is over, then clear up."""
        try:
            while not self._over.is_set():
                self._wake.clear()
                if self._heartbeat() and not self._over.is_set():
                    self._wake.wait(self._lease.heartbeat_s)
        finally:
            self._client.remove_listener(self._on_connection)
        if self.standing is Standing.LOST and not self._is_session_over:
            self._traces.remove_later(with_marker=False)

    def _heartbeat(self) -> bool:
        """Ask a quorum whether the znode stands; False if there was no answer."""
        self._watch()  # before asking, so that a znode that goes in between is noticed by the one or the other
        sent_s = now_s()
        transaction = self._client.transaction()
        transaction.check(self.sequencer.node_path, HELD_VERSION)
        pending = transaction.commit_async()
        while not pending.ready():
            if self._over.is_set() or self.standing is Standing.LOST:
                return False
            late_s = now_s() - sent_s
            if late_s >= OVERDUE * self._lease.timeout_s:
                self._endanger("an answer of the servers is overdue")
            pending.wait(SLICE_S)
        try:
            verdict(pending.get())
        except UNSURE:
            self._endanger("the connection is lost")
            time.sleep(PAUSE_S)
            return False
        except NoNodeError:
            self._lose("its znode was deleted")
        except BadVersionError:
            self._lose("its znode was changed")
        except SessionExpiredError as error:
            self._lose_session("the client was stopped" if is_closed(error) else "the session has expired")
        except KazooException as error:
            self._lose(f"the servers refuse to say whether it is held: {error!r}")
        else:
            self._renew(sent_s)
        return True

    def _watch(self) -> None:
        """Be told at once when the znode goes; only to be quicker than the next heartbeat."""
        if not self._is_watching:
            self._is_watching = True
            self._client.exists_async(self.sequencer.node_path, watch=self._on_znode)
