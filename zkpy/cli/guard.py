"""The process between `zkpy lock` and its command: it ends the command when the lock is lost, whatever became of us.

    zkpy lock ── control: "deadline S", "signal N", "lost" ──→ guard ── fork, exec ──→ command
              ←── status: "started PID", "cannot ERRNO", "ended STATUS own|lost" ──┘

The lock is lost to the guard when it is told so, when `zkpy lock` is gone (the pipe ends: SIGKILL), and when the last
deadline that it was told has passed (`zkpy lock` stands still: SIGSTOP). Then the command and all that descends from it
get SIGTERM, and SIGKILL once --kill-after is over; orphans too, as they become children of the guard. The command dies
with SIGKILL if the guard does (PDEATHSIG; what it has started itself then lives on).

Its law: the standard library alone, one thread, no waiting for anybody without looking at the deadline. Deadlines are
on the clock of `zkpy.recipes.lease.now_s`, which all processes of a machine share.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
#: Between two looks at the clock, which may have run on while the machine slept.
STEP_S: Final = 0.25
#: Between two looks at who is left, once the end has begun.
SWEEP_S: Final = 0.02
#: What is meant for the command reaches it through `zkpy lock`.
PASSED_ON: Final = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


def now_s() -> float:
    """Seconds on the clock of deadlines."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def prctl(option: int, value: int) -> None:
    """Linux's prctl. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


class Guard:
    """One command, from its start until nothing of it is left."""

    def __init__(self, control: int, status: int, deadline_s: float, kill_after_s: float) -> None:
        self.control = control
        self.status = status
        self.deadline_s = deadline_s
        self.kill_after_s = kill_after_s
        self.child = 0
        self.child_status: int | None = None
        #: When SIGKILL comes; None while the lock is held.
        self.kill_s: float | None = None
        self.is_killing = False
        self._rest = b""

    def run(self, command: list[str]) -> None:
        """Start it, watch over it, report."""
        wake_in, wake_out = os.pipe()
        os.set_blocking(wake_out, False)
        os.set_blocking(wake_in, False)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        ignored = [number for number in PASSED_ON if signal.getsignal(number) is signal.SIG_IGN]
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        if now_s() >= self.deadline_s:
            self.report("ended 0 lost")
            return
        me = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            self._become(command, me, ignored)
        self.report(f"started {self.child}")
        watched = [self.control, wake_in]
        while not self._is_over():
            ready = select.select(watched, [], [], self._patience_s())[0]
            if wake_in in ready:
                os.read(wake_in, 4096)
            if self.control in ready and not self._listen():
                watched.remove(self.control)
                self._end()
            if now_s() >= self.deadline_s:
                self._end()
            self._reap()
            if self.kill_s is not None and now_s() >= self.kill_s:
                self.is_killing = True
            if self.is_killing:
                self._signal_all(signal.SIGKILL)
        code = os.waitstatus_to_exitcode(self.child_status or 0)
        self.report(f"ended {code if code >= 0 else 128 - code} {'own' if self.kill_s is None else 'lost'}")

    def report(self, text: str) -> None:
        """Tell `zkpy lock`, if it is still there."""
        with suppress(OSError):
            os.write(self.status, f"{text}\n".encode())

    def _become(self, command: list[str], parent: int, ignored: list[signal.Signals]) -> None:
        """Be the command; does not return."""
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:  # else it died before we could ask to be told
                for number in (*PASSED_ON, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
                os.execvp(command[0], command)
        except OSError as error:
            self.report(f"cannot {error.errno}")
        finally:
            os._exit(126)

    def _patience_s(self) -> float:
        if self.kill_s is not None:
            return SWEEP_S
        return max(0.0, min(STEP_S, self.deadline_s - now_s()))

    def _listen(self) -> bool:
        """Take what we are told; False at the end."""
        data = os.read(self.control, 4096)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, value = line.decode().partition(" ")
            if word == "deadline":
                self.deadline_s = float(value)
            elif word == "signal":
                self._signal(self.child, int(value))
            else:
                self._end()
        return bool(data)

    def _end(self) -> None:
        """The lock is lost."""
        if self.kill_s is None:
            self.kill_s = now_s() + self.kill_after_s
            self._signal_all(signal.SIGTERM)
            # Who stands still does not hear it.
            self._signal_all(signal.SIGCONT)

    def _is_over(self) -> bool:
        if self.child_status is None:
            return False
        return self.kill_s is None or not self._descendants()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.child_status = status

    def _signal(self, pid: int, number: int) -> None:
        # Ours to reap, or below one that is: a pid is not used again before that.
        if pid != self.child or self.child_status is None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _signal_all(self, number: int) -> None:
        for pid in self._descendants():
            self._signal(pid, number)

    def _descendants(self) -> list[int]:
        """All that descends from this process and has not ended."""
        children: dict[int, list[int]] = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                    # Behind the name, which may hold anything, parentheses included.
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
                    if state != b"Z":
                        children.setdefault(int(parent), []).append(int(name))
        found, todo = [], [os.getpid()]
        while todo:
            below = children.get(todo.pop(), [])
            found += below
            todo += below
        return found


def main(arguments: list[str]) -> None:
    """CONTROL STATUS DEADLINE KILL_AFTER COMMAND..."""
    control, status = int(arguments[0]), int(arguments[1])
    for descriptor in (control, status):
        os.set_inheritable(descriptor, False)
    Guard(control, status, float(arguments[2]), float(arguments[3])).run(arguments[4:])


if __name__ == "__main__":
    main(sys.argv[1:])
