"""Running a command only while a lock is held: what `zkpy lock` and `zkpy elect` have in common.

    main thread   takes what happens from one queue, in order: signals, the grant, its events, what the guard reports
    threads       one waits for signals, one for the grant and then for its events, one for the guard
    guard         a process between us and the command (guard.py), which ends it should we be stopped or killed

Its law: the command runs only between the grant and its loss. The guard is told each new deadline, and acts by the
last one it heard.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from zkpy.cli.connecting import CommandError, Unavailable, connect

if TYPE_CHECKING:
    from zkpy.recipes import Grant

EXIT_NOT_ACQUIRED: Final = 75
EXIT_LOST: Final = 76
EXIT_CANNOT_RUN: Final = 126
EXIT_NO_COMMAND: Final = 127

#: How often the guard hears of the deadline, in session timeouts.
NEWS: Final = 1 / 20
#: How long the grant's own thread may take to see what the guard has seen.
SETTLE_S: Final = 0.2
#: How long the servers may take to take note of the release.
RELEASE_S: Final = 5.0

STATUSES: Final = (
    "Exit status: that of CMD (128 and the signal's number if a signal ended it); 75 if it was not acquired within"
    " --timeout; 76 if it was lost while CMD ran; 126 if CMD cannot be run, 127 if there is none; 69 without a server;"
    " 77 if the servers do not permit it; 128 and the number of a signal that came while waiting; 2 for a wrong call."
)
PROMISES: Final = (
    "CMD and all it has started get SIGTERM when the lock is lost: its session ended, its znode was deleted, or no"
    " server answered until this machine's own deadline, which comes before the servers'. SIGKILL follows after"
    " --kill-after; with a --lock-delay as long as that nobody else has the lock before. A guard process sees to it"
    " even while zkpy itself is stopped, or killed with SIGKILL; if the guard is killed, CMD dies with it, but not what"
    " CMD has started."
)

PASSED_ON: Final = frozenset(
    (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
)

#: Makes an attempt, which has `wait(timeout_s) → Grant` and `cancel()`, from a connected client.
Attempting = Callable[[Any], Any]


def holding(command: Any) -> Any:
    """The options that all commands of this kind have, and the words of CMD."""
    options = (
        click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD..."),
        click.option(
            "--kill-after", "kill_after_s", type=click.FloatRange(0), default=5.0, show_default=True, metavar="S",
            help="Seconds from SIGTERM to SIGKILL once it is lost.",
        ),
        click.option(
            "--session-timeout", "session_timeout_s", type=click.FloatRange(0, min_open=True), default=10.0,
            show_default=True, metavar="S", help="Seconds after which the servers give up a silent session.",
        ),
        click.option(
            "--lock-delay", "lock_delay_s", type=click.FloatRange(0, 60), default=0.0, show_default=True, metavar="S",
            help="Seconds for which nobody gets it after this holder failed (0 to 60).",
        ),
        click.option(
            "--timeout", "timeout_s", type=click.FloatRange(0), metavar="S",
            help="Seconds to wait for it. [default: for ever]",
        ),
    )  # fmt: skip
    for option in options:
        command = option(command)
    return command


class Holder:
    """One acquisition and one run of a command."""

    def __init__(self, words: tuple[str, ...], kill_after_s: float, *, tells_events: bool) -> None:
        """`tells_events`: say on stderr what happens to the grant."""
        self._words = words
        self._kill_after_s = kill_after_s
        self._tells_events = tells_events
        self._happenings: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._control = -1

    def run(
        self,
        hosts: str,
        auth: tuple[tuple[str, str], ...],
        attempting: Attempting,
        timeout_s: float | None,
        session_timeout_s: float,
    ) -> int:
        """The exit status."""
        if not sys.platform.startswith("linux"):
            raise Unavailable(f"this command needs Linux, which ends CMD with its guard, and this is {sys.platform}")
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        self._start(self._wait_for_signals)
        # However long the servers are away, who waits for a lock goes on waiting.
        retry = {"max_tries": -1, "max_delay": 1.0}
        with connect(hosts, auth=auth, session_timeout=session_timeout_s, connection_retry=retry) as client:
            attempt = attempting(client)
            self._start(lambda: self._wait_for_grant(attempt, timeout_s))
            status = self._until_granted(attempt)
            return status if isinstance(status, int) else self._hold(status)

    def _start(self, doing: Callable[[], None]) -> None:
        threading.Thread(target=doing, daemon=True).start()

    # What happens, from threads.

    def _wait_for_signals(self) -> None:
        while True:
            came = signal.sigwaitinfo(PASSED_ON)
            # One that a terminal sends, it sends to the command as well.
            if came.si_code <= 0:
                self._happenings.put(("signal", came.si_signo))
            else:
                self._happenings.put(("key", came.si_signo))

    def _wait_for_grant(self, attempt: Any, timeout_s: float | None) -> None:
        try:
            grant = attempt.wait(timeout_s)
        except BaseException as error:
            self._happenings.put(("failed", error))
            return
        self._happenings.put(("granted", grant))
        while (event := grant.next_event()) is not None:
            self._happenings.put(("event", event))

    def _wait_for_guard(self, status: int) -> None:
        with os.fdopen(status) as lines:
            for line in lines:
                self._happenings.put(("guard", line.split()))
        self._happenings.put(("guard", ["gone"]))

    # The main thread.

    def _until_granted(self, attempt: Any) -> Grant | int:
        from zkpy.recipes import Cancelled, HoldersDiffer, NotAcquired

        stopped_by = 0
        while True:
            kind, what = self._happenings.get()
            if kind == "granted":
                if not stopped_by:
                    grant: Grant = what
                    return grant
                what.release(RELEASE_S)
                return 128 + stopped_by
            if kind == "failed":
                if isinstance(what, Cancelled):
                    return 128 + stopped_by
                if isinstance(what, HoldersDiffer):
                    raise CommandError(str(what))
                if isinstance(what, NotAcquired):
                    click.echo(f"zkpy: {what}", err=True)
                    return EXIT_NOT_ACQUIRED
                raise what
            if not stopped_by:
                stopped_by = what
                attempt.cancel()

    def _hold(self, grant: Grant) -> int:
        guard = self._start_guard(grant)
        try:
            return self._watch(grant)
        finally:
            # The guard sees the end of the pipe, should the command still run.
            os.close(self._control)
            guard.wait()
            grant.release(RELEASE_S)

    def _start_guard(self, grant: Grant) -> subprocess.Popen[bytes]:
        control, self._control = os.pipe()
        status, status_out = os.pipe()
        deadline_s = _deadline_of(grant)
        environ = {
            **os.environ,
            "ZKPY_LOCK_PATH": grant.sequencer.path,
            "ZKPY_TOKEN": str(grant.token),
            "ZKPY_SEQUENCER": str(grant.sequencer),
        }
        path = str(Path(__file__).with_name("guard.py"))
        numbers = [str(control), str(status_out), repr(deadline_s), repr(self._kill_after_s)]
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", path, *numbers, *self._words], env=environ, pass_fds=(control, status_out)
        )
        os.close(control)
        os.close(status_out)
        self._start(lambda: self._wait_for_guard(status))
        return guard

    def _watch(self, grant: Grant) -> int:
        """Until the command has ended, by itself or because the lock was lost."""
        from zkpy.recipes import EventKind

        told_s = 0.0
        is_told = False
        news_s = NEWS * grant.session_timeout_s
        while True:
            try:
                kind, what = self._happenings.get(timeout=news_s)
            except queue.Empty:
                kind, what = "", None
            if kind == "signal":
                self._tell(f"signal {what}")
            elif kind == "event":
                if what.kind is EventKind.LOST or self._tells_events:
                    reason = f": {what.reason}" if what.reason else ""
                    click.echo(f"zkpy: {grant.sequencer.path} is {what.kind.value}{reason}", err=True)
                if what.kind is EventKind.LOST:
                    is_told = True
                    self._tell("lost")
            elif kind == "guard" and what[0] == "cannot":
                text = os.strerror(int(what[1]))
                click.echo(f"zkpy: {self._words[0]} cannot be run: {text}", err=True)
                return EXIT_NO_COMMAND if int(what[1]) == 2 else EXIT_CANNOT_RUN
            elif kind == "guard" and what[0] == "ended":
                if what[2] == "own" and grant.is_held():
                    return int(what[1])
                # The guard may be quicker than the grant's own thread, by a moment.
                if not is_told:
                    is_over = grant.wait_lost(SETTLE_S)
                    reason = grant.reason if is_over else "nothing was heard of its lease until its deadline"
                    click.echo(f"zkpy: {grant.sequencer.path} is lost: {reason}", err=True)
                return EXIT_LOST
            elif kind == "guard" and what[0] == "gone":
                click.echo("zkpy: the guard was killed, and the command with it", err=True)
                return 128 + signal.SIGKILL
            if grant.is_held() and time.monotonic() - told_s >= news_s:
                told_s = time.monotonic()
                self._tell(f"deadline {_deadline_of(grant)!r}")

    def _tell(self, text: str) -> None:
        try:
            os.write(self._control, f"{text}\n".encode())
        except BrokenPipeError:
            pass  # the guard has ended, and its report is on the way


def _deadline_of(grant: Grant) -> float:
    """The local deadline, on the clock that the guard reads too; never later than it is."""
    from zkpy.recipes.lease import now_s

    before_s = now_s()
    return before_s + grant.remaining_s()
