"""One leader among any number of candidates, told of everything that happens to its leadership.

    ELECTED ─→ (JEOPARDY ─→ SAFE)* ─→ LOST ─→ ELECTED …      in this order, one at a time, to one callback

An election is an exclusive lock that is contended for again whenever it was lost; candidates of kazoo's Election on the
same path stand in the same line. The leader acts under its grant's sequencer, and only while `is_leader()`: that asks
the leader's own clock, which deposes it before the servers elect another (see `lease`).

After Chubby (Burrows, OSDI 2006), sections 2.4 and 2.5: primary election by locks, and events.
"""

import threading
from collections.abc import Callable

from kazoo.client import KazooClient

from zkpy.recipes.errors import Cancelled, RecipeError
from zkpy.recipes.grants import Event, EventKind, Grant
from zkpy.recipes.holders import Standings, who
from zkpy.recipes.lease import now_s
from zkpy.recipes.locks import Contention, Lock
from zkpy.recipes.sequencer import Sequencer


class Election:
    """A candidate, from `start` to `stop`; a context manager that does both.

        with Election(client, "/payments/leader", owner="replica-3", on_event=print) as election:
            while True:
                if election.is_leader():
                    process_one_payment(election.sequencer)

    All methods may be called from any thread, `stop` and `resign` also from the callback.
    """

    def __init__(
        self,
        client: KazooClient,
        path: str,
        *,
        owner: str | None = None,
        lock_delay_s: float = 0.0,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        """As for `Lock`. `on_event` is called in a thread of the election's own, with one event at a time.

        While a callback runs, later events wait, and the lease is renewed all the same. An exception of the callback
        ends the candidacy; `stop` raises it.
        """
        self._lock = Lock(client, path, owner=owner, lock_delay_s=lock_delay_s)
        self._on_event = on_event
        self._changed = threading.Condition()
        self._grant: Grant | None = None
        self._contention: Contention | None = None
        self._is_stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._stand, name=f"election {path}", daemon=True)

    def start(self) -> "Election":
        """Stand for election; once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Resign if elected, and stand no more. Raises what ended the candidacy before, if anything did.

        That is kazoo's ConnectionClosedError if the client was stopped first, or what the callback raised.
        """
        with self._changed:
            self._is_stopped = True
            contention, grant = self._contention, self._grant
            self._changed.notify_all()
        if contention is not None:
            contention.cancel()
        if grant is not None:
            grant.release()
        if threading.current_thread() is not self._thread and self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def resign(self) -> None:
        """Give the leadership up, if it is ours, and stand again, behind all other candidates."""
        grant = self.grant
        if grant is not None:
            grant.release()

    @property
    def grant(self) -> Grant | None:
        """The grant we lead under, None if we do not lead."""
        with self._changed:
            return self._grant if self._grant is not None and self._grant.is_held() else None

    @property
    def sequencer(self) -> Sequencer | None:
        """The sequencer we lead under, None if we do not lead."""
        grant = self.grant
        return None if grant is None else grant.sequencer

    def is_leader(self) -> bool:
        """May we act as the leader, by our own clock? See `Grant.is_held`."""
        return self.grant is not None

    def wait_elected(self, timeout_s: float | None = None) -> Grant | None:
        """Wait until we lead; the grant, None if we do not after `timeout_s` seconds.

        Raises what ended the candidacy, if anything did; RecipeError once it is stopped.
        """
        until_s = None if timeout_s is None else now_s() + timeout_s
        with self._changed:
            while self._grant is None or not self._grant.is_held():
                if self._error is not None:
                    raise self._error
                if self._is_stopped:
                    raise RecipeError("the candidacy was stopped")
                left_s = None if until_s is None else until_s - now_s()
                if left_s is not None and left_s <= 0:
                    return None
                self._changed.wait(left_s)
            return self._grant

    def candidates(self, timeout_s: float | None = None) -> Standings:
        """The leader and those who wait to be elected, as the servers see them; see `who`."""
        return who(self._lock.client, self._lock.path, timeout_s)

    def __enter__(self) -> "Election":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: object) -> None:
        self.stop()

    def _stand(self) -> None:
        try:
            while (grant := self._win()) is not None:
                self._tell(Event(EventKind.ELECTED, grant.sequencer, now_s(), ""))
                while (event := grant.next_event()) is not None:
                    self._tell(event)
                    if event.kind is EventKind.LOST:
                        break
        except BaseException as error:
            with self._changed:
                self._error = error
                grant = self._grant
                self._changed.notify_all()
            if grant is not None:
                grant.release()

    def _win(self) -> Grant | None:
        """The next grant, None once stopped."""
        with self._changed:
            if self._is_stopped:
                return None
            self._contention = contention = self._lock.contend()
        try:
            grant = contention.wait()
        except Cancelled:
            return None
        with self._changed:
            self._contention = None
            self._grant = grant
            is_stopped = self._is_stopped
            self._changed.notify_all()
        if is_stopped:
            grant.release()
            return None
        return grant

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
