"""A child process that does not outlive this one, however this one ends: Linux sends it a signal (PR_SET_PDEATHSIG).

Its law: the standard library alone. scripts/bench_servers.py takes it as a file, and must run on any Python.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def tied_to_this_process(number: signal.Signals) -> Callable[[], None]:
    """What a child has to do before anything else (`preexec_fn`) to get the signal `number` once this process is gone.

    The kernel means the thread that has started the child: this process should have but one.
    """
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)  # it went before the kernel knew

    return tie
