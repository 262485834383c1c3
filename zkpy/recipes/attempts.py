"""An attempt to acquire something: the waiting, its end, and what is done when the connection or the session is lost.

    step ─→ a grant: done │ nothing: take the next one │ connection lost: again, not knowing what was carried out
         │ session expired: begin anew │ anything else: leave nothing behind, and raise it

A step asks as it goes, and sleeps until what it has asked about changes.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, SessionExpiredError
from kazoo.protocol.states import KazooState

from zkpy.recipes.asking import PAUSE_S, UNSURE, OutOfTime, ask, is_closed
from zkpy.recipes.errors import Cancelled, NotAcquired
from zkpy.recipes.grants import Grant
from zkpy.recipes.lease import now_s

#: How long the servers may take for an answer once the time for waiting is over.
ANSWER_S: Final = 5.0


class Attempt:
    """One contender on its way to a grant; to be used once."""

    def __init__(self, client: KazooClient, path: str) -> None:
        """Nothing is sent before `wait`."""
        self._client = client
        self._path = path
        self._wake = threading.Event()
        self._is_cancelled = False
        self._begin()

    def cancel(self) -> None:
        """Let `wait` raise Cancelled, now or when it is called; too late once it has returned."""
        self._is_cancelled = True
        self._wake.set()

    def wait(self, timeout_s: float | None = None) -> Grant:
        """As `Lock.acquire`; Cancelled if that was asked for. Whatever is raised, no contender stays behind."""
        until_s = None if timeout_s is None else now_s() + timeout_s
        self._client.add_listener(self._on_connection)
        try:
            while True:
                self._wake.clear()
                if self._is_cancelled:
                    raise OutOfTime
                try:
                    grant = self._step(until_s)
                except UNSURE:
                    self._sleep(PAUSE_S, until_s)
                except SessionExpiredError as error:
                    if is_closed(error):
                        raise
                    self._start_over()
                    self._sleep(PAUSE_S, until_s)
                else:
                    if grant is not None:
                        return grant
        except OutOfTime:
            self._leave()
            if self._is_cancelled:
                raise Cancelled(f"the attempt to acquire {self._path} was cancelled") from None
            raise NotAcquired(f"{self._path} was not to be had within {timeout_s} s") from None
        except BaseException:
            self._leave()
            raise
        finally:
            self._client.remove_listener(self._on_connection)

    def _begin(self) -> None:
        """Be a contender that nobody has heard of."""
        raise NotImplementedError

    def _step(self, until_s: float | None) -> Grant | None:
        """One step towards the grant, None if there are more to come."""
        raise NotImplementedError

    def _leave(self) -> None:
        """Let nothing stay behind."""
        raise NotImplementedError

    def _start_over(self) -> None:
        self._leave()
        self._begin()

    def _on_connection(self, state: Any) -> None:
        if state != KazooState.SUSPENDED:
            self._wake.set()

    def _on_change(self, event: Any) -> None:
        self._wake.set()

    def _ask(self, request: Callable[[], Any], until_s: float | None) -> Any:
        end_s = None if until_s is None else until_s + ANSWER_S
        return ask(self._client, request, end_s, lambda: self._is_cancelled)

    def _children(self, path: str, until_s: float | None, watch: Callable[[Any], None] | None = None) -> list[str]:
        """The names below a path, none if it is not there."""
        try:
            return list(self._ask(partial(self._client.get_children_async, path, watch=watch), until_s))
        except NoNodeError:
            return []

    def _sleep(self, seconds: float, until_s: float | None) -> None:
        """Until something changes, but not longer than that. Raises OutOfTime at `until_s`."""
        if not self._is_cancelled:
            left_s = seconds if until_s is None else min(seconds, until_s - now_s())
            if left_s <= 0:
                raise OutOfTime
            self._wake.wait(None if left_s == float("inf") else left_s)
