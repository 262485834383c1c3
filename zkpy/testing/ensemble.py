"""Several members for a test, each in a thread of its own, with real ports between them."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from zkpy.server.membership import Membership, Server
from zkpy.testing.embedded import PATIENCE_S, STEP_S, Embedded, session_of
from zkpy.testing.errors import ControlError
from zkpy.testing.ports import HOST, Ports
from zkpy.testing.server import config_of, settings_for

#: Threads of one process share its interpreter: silence has to be longer than in processes to mean anything.
TICK_MS: Final = 200
#: Ticks until a silent member is given up, by its leader or as one.
SYNC_TICKS: Final = 15
INIT_TICKS: Final = 50
NOTIFICATION_MS: Final = 50
RETRY_MS: Final = 20


class Ensemble:
    """So many members on free ports of 127.0.0.1, from the beginning of the block to its end.

        with Ensemble(3) as ensemble:
            client = KazooClient(ensemble.hosts)
            ensemble.kill_leader()

    `members` are in the order of their numbers, 1 first; each has all the controls that a `Server` has.
    """

    def __init__(self, size: int = 3, *, durable: bool = False, tick_time_ms: int = TICK_MS, **settings: Any) -> None:
        """`durable`, `tick_time_ms` and `settings` as for `Server`. Raises ControlError if there is no such setting."""
        if size < 1:
            raise ControlError(f"an ensemble has one member or more, not {size}")
        self._size = size
        self._settings = {
            **settings_for(durable, tick_time_ms),
            "init_limit": INIT_TICKS,
            "sync_limit": SYNC_TICKS,
            "min_notification_ms": NOTIFICATION_MS,
            "leader_retry_ms": RETRY_MS,
            **settings,
        }
        config_of(Path(), self._settings)
        self.members: list[Embedded] = []

    def __enter__(self) -> "Ensemble":
        if self.members:
            raise ControlError("this ensemble is in use already: make one more for another block")
        self._ports = Ports(3 * self._size)
        self._directory = tempfile.TemporaryDirectory(prefix="zkpy-")
        numbers = self._ports.numbers
        sids = range(1, self._size + 1)
        servers = {
            sid: Server(sid, ((HOST, numbers[3 * sid - 2], numbers[3 * sid - 1]),), False, (HOST, numbers[3 * sid - 3]))
            for sid in sids
        }
        for sid in sids:
            fields = {"sid": sid, "members": Membership(servers), "client_port": numbers[3 * sid - 3]}
            config = config_of(Path(self._directory.name, str(sid)), {**self._settings, **fields})
            self.members.append(Embedded(config, f"member {sid}"))
        try:
            for member in self.members:
                member.start()
            self.wait_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        failures = []
        for member in self.members:
            try:
                member.stop()
            except ControlError as failure:
                failures.append(failure)
        self.members = []
        self._ports.close()
        self._directory.cleanup()
        if failures:
            raise failures[0]

    @property
    def hosts(self) -> str:
        """The connect string, of all members."""
        return ",".join(member.hosts for member in self.members)

    # --- members -------------------------------------------------------------------------------------------------

    @property
    def leader(self) -> Embedded:
        """The leader; waits until there is one. Raises ControlError if there is none for long."""
        found: list[Embedded] = []

        def look() -> bool:
            # A paused leader does not know yet that it is one no more; who is asked and answers is the leader.
            found[:] = [member for member in self.members if member.is_leading]
            return bool(found)

        self._wait(look, "there is no leader")
        return found[-1]

    @property
    def followers(self) -> list[Embedded]:
        """The members that run, but for the leader."""
        leader = self.leader
        return [member for member in self.members if member is not leader and member.is_running]

    def wait_ready(self) -> None:
        """Wait until there is a leader, and every member that runs and is not paused serves clients."""

        def is_ready() -> bool:
            awake = [member for member in self.members if member.is_running and not member.is_paused]
            return all(member.is_serving for member in awake) and any(member.is_leading for member in awake)

        self._wait(is_ready, "not all members serve")

    def kill_leader(self) -> Embedded:
        """End the leader; the member that it was, to be started again with its `start`."""
        leader = self.leader
        leader.stop()
        return leader

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                running = sum(member.is_running and not member.is_paused for member in self.members)
                quorum = self._size // 2 + 1
                raise ControlError(
                    f"{what} after {PATIENCE_S:g} s: {running} of {self._size} members run, and {quorum} are a quorum"
                )
            time.sleep(STEP_S)

    # --- clients and time: of all members -----------------------------------------------------------------------

    def expire(self, client: Any) -> None:
        """End the session now, wherever its client is connected; returns when it is over for the leader."""
        session_id = session_of(client)
        self.leader.expire(session_id)

    def cut_off(self, client: Any) -> None:
        """Break the session's connection, and let it have none with any member that runs until `let_back`."""
        awake = self._awake()
        # All before the first connection breaks, or it would find one that still takes it.
        for member in awake:
            member.shut_out(client)
        for member in awake:
            member.cut_off(client)

    def let_back(self, client: Any) -> None:
        """Let the session have connections again."""
        for member in self.members:
            member.let_back(client)

    def move_clock(self, seconds: float) -> None:
        """Move the clocks of all members that run; `members[0].move_clock` moves those of one."""
        for member in self._awake():
            member.move_clock(seconds)

    def _awake(self) -> list[Embedded]:
        return [member for member in self.members if member.is_running and not member.is_paused]
