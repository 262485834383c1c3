"""A server in a thread of its own, which runs Trio, and its controls, which any other thread may use.

    caller's thread ─ start ─→ thread ─ trio.run(serve) ─→ serving
                    ─ a control ─→ (between two turns) ─→ its outcome
                    ─ pause ─→ the thread stands still inside of a turn ─ resume ─→ it goes on
                    ─ stop ─→ cancelled, thread and sockets gone

A pause is what SIGSTOP is to a process: connections stand, the kernel accepts more, nobody answers.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final, TypeVar

import trio

from zkpy.keeper.keeper import Keeper
from zkpy.server.config import Config
from zkpy.server.driver import Driver
from zkpy.server.server import Guest, serve
from zkpy.testing.controls import ControlledReplica
from zkpy.testing.errors import ControlError
from zkpy.zab.peer import Peer

T = TypeVar("T")

#: How long anything may take that is done at once unless the machine is very busy.
PATIENCE_S: Final = 30.0
#: Between two looks at what no event tells of.
STEP_S: Final = 0.005


class Embedded:
    """One server, alone or a member. `expire`, `cut_off` and `let_back` take a kazoo client or a session's id."""

    def __init__(self, config: Config, name: str) -> None:
        self.config = config
        self.name = name
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._cut_off: set[int] = set()
        self._wall_ahead_ms = 0
        self._go_on = threading.Event()
        self._go_on.set()

    # --- life ----------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where clients connect, on 127.0.0.1."""
        return self.config.client_port

    @property
    def hosts(self) -> str:
        """The connect string."""
        return f"{self.config.client_address}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Has it been started, and not ended since?"""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_paused(self) -> bool:
        """Does it stand still?"""
        return self.is_running and not self._go_on.is_set()

    def start(self) -> None:
        """Start it, with the data and the port that it had. Raises ControlError if it cannot."""
        if self.is_running:
            raise ControlError(f"{self.name} is running already")
        self._error = None
        self._go_on.set()
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._main, name=self.name, daemon=True)
        self._thread.start()
        if not self._began.wait(PATIENCE_S):
            raise ControlError(f"{self.name} has not started within {PATIENCE_S:g} s")
        if self._error is not None:
            self._thread.join()
            raise self._ended()

    def stop(self) -> None:
        """End it, as a kill would: what it has acknowledged is in its data. Raises ControlError if it had failed."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._go_on.set()
        try:
            self._token.run_sync_soon(self._scope.cancel)
        except (trio.RunFinishedError, AttributeError):
            pass  # it has ended by itself, or never begun
        thread.join(PATIENCE_S)
        if thread.is_alive():
            raise ControlError(f"{self.name} does not stop within {PATIENCE_S:g} s")
        if self._error is not None:
            raise self._ended()

    def restart(self) -> None:
        """Stop it and start it on the same data and port: sessions live on if their clients come back in time."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it stand still until `resume`."""
        self._check()
        self._go_on.clear()
        stands = threading.Event()
        go_on = self._go_on

        def stand() -> None:
            stands.set()
            go_on.wait()

        try:
            self._token.run_sync_soon(stand)
        except trio.RunFinishedError:
            raise self._ended() from None
        if not stands.wait(PATIENCE_S):
            self._go_on.set()
            raise ControlError(f"{self.name} does not stand still within {PATIENCE_S:g} s")

    def resume(self) -> None:
        """Let it go on. Nothing happens if it is not paused."""
        self._go_on.set()

    # --- clients -------------------------------------------------------------------------------------------------

    def expire(self, client: Any) -> None:
        """End the session now, as if nothing had been heard of it for too long; returns when it is over."""
        session_id = session_of(client)
        self._do(lambda: self._driver.hear(lambda: self._replica.expire(session_id)))
        deadline = time.monotonic() + PATIENCE_S
        while self.has_session(session_id):
            if time.monotonic() > deadline:
                raise ControlError(f"the session is not over after {PATIENCE_S:g} s: is there a leader and a quorum?")
            time.sleep(STEP_S)

    def cut_off(self, client: Any) -> None:
        """Break the session's connection here, and let it have no other until `let_back`. Its time runs on."""
        session_id = session_of(client)
        self.shut_out(session_id)
        self._do(lambda: self._driver.hear(lambda: self._replica.break_connection(session_id)))

    def shut_out(self, client: Any) -> None:
        """Let the session have no new connection here, and whatever it says on the one it has be its last word."""
        self._check()
        self._cut_off.add(session_of(client))

    def let_back(self, client: Any) -> None:
        """Let the session have connections again; nothing happens if it was not cut off."""
        self._cut_off.discard(session_of(client))

    def has_session(self, client: Any) -> bool:
        """Does this server know the session as a living one? A follower knows those of its own clients."""
        session_id = session_of(client)
        return self._do(lambda: self._replica.has_session(session_id))

    # --- time ----------------------------------------------------------------------------------------------------

    def move_clock(self, seconds: float) -> None:
        """Move its clocks. Forward: sessions, TTL nodes and containers whose time is then over go at once, as after a
        machine was suspended; a client that is heard from too late has lost its session. Back: only the time of day
        moves, for no clock that timeouts are measured with ever goes back. A restart keeps the time of day."""
        move_ms = round(seconds * 1000)

        def move() -> None:
            replica = self._replica
            replica.ahead_ms += max(0, move_ms)
            replica.wall_ahead_ms += move_ms
            self._wall_ahead_ms = replica.wall_ahead_ms
            self._driver.hear(replica.wake)

        self._do(move)

    # --- the ensemble --------------------------------------------------------------------------------------------

    @property
    def is_serving(self) -> bool:
        """Does it serve clients: alone, or as a member that has a leader? False while it is paused or stopped."""
        return self._is(lambda keeper: keeper.is_serving)

    @property
    def is_leading(self) -> bool:
        """Is it the leader of its ensemble, with a quorum? False while it is paused or stopped."""
        return self._is(lambda keeper: keeper.leading is not None)

    def _is(self, what: Callable[[Keeper], bool]) -> bool:
        if not self.is_running or self.is_paused:
            return False
        return self._do(lambda: what(self._replica.keeper))

    # --- the thread ----------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            self._error = error
        finally:
            self._began.set()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            guest = Guest(self._make_replica, self._on_driver)
            await serve(self.config, on_serving=lambda host, port: self._began.set(), guest=guest)

    def _make_replica(self, keeper: Keeper, peer: Peer | None) -> ControlledReplica:
        self._replica = ControlledReplica(keeper, peer, self._cut_off, self._wall_ahead_ms)
        return self._replica

    def _on_driver(self, driver: Driver) -> None:
        self._driver = driver

    def _do(self, what: Callable[[], T]) -> T:
        """Have the server's thread do it between two turns."""
        self._check()
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(what())
            except BaseException as error:
                outcome.set_exception(error)

        try:
            self._token.run_sync_soon(run)
        except trio.RunFinishedError:
            raise self._ended() from None
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return outcome.result(0.1)
            except NotYet:
                if not self.is_running:
                    raise self._ended() from None
                if time.monotonic() > deadline:
                    raise ControlError(f"{self.name} has not answered within {PATIENCE_S:g} s") from None

    def _check(self) -> None:
        if self._error is not None:
            raise self._ended()
        if not self.is_running:
            raise ControlError(f"{self.name} is not running: start it first")
        if self.is_paused:
            raise ControlError(f"{self.name} is paused: resume it first")

    def _ended(self) -> ControlError:
        """Why it is not there any more."""
        error = self._error
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is None:
            return ControlError(f"{self.name} was stopped meanwhile")
        failure = ControlError(f"{self.name} has failed: {error or type(error).__name__}")
        failure.__cause__ = error
        return failure


def session_of(client: Any) -> int:
    """The session's id: of a kazoo client, or the id itself. Raises ControlError for a client without a session."""
    if isinstance(client, int):
        return client
    # Its public client_id is None while it is disconnected, and who was cut off is to be let back.
    session_id = getattr(client, "_session_id", None)
    if not session_id:
        raise ControlError("this client has no session: start it first, and hand over a kazoo client or a session's id")
    return int(session_id)
