#!/usr/bin/env python3
"""`zkpy serve` with a stopwatch in it: how long its turns and its garbage collections take, for scripts/scale.

    scale_server.py ZOO_CFG REPORT      each SIGUSR1 writes a line of JSON to REPORT, and begins anew

It costs a turn four looks at the clocks; the server is otherwise the one that users run.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from zkpy.cli import main
from zkpy.server.driver import Driver


class Stopwatch:
    """The longest of each since the last report, in milliseconds; of turns also the most processor time.

    What a turn takes beyond that it waits for the disk, or for a processor that does something else.
    """

    def __init__(self, report: Path) -> None:
        self.report = report
        self.collection_began_s = 0.0
        self.reset()

    def reset(self) -> None:
        self.turn_ms = self.turn_cpu_ms = self.snapshot_turn_ms = self.snapshot_turn_cpu_ms = self.collection_ms = 0.0
        self.turns = self.collections = 0

    def watch_turns(self) -> None:
        """Every turn that clients cause; one beside a snapshot that is being written counts twice."""
        turn = Driver.turn

        def timed(driver: Driver, **options: Any) -> bool:
            has_snapshot = driver.disk.has_work
            began_s, used_s = perf_counter(), thread_time()
            more = turn(driver, **options)
            took_ms, used_ms = (perf_counter() - began_s) * 1000, (thread_time() - used_s) * 1000
            self.turns += 1
            self.turn_ms = max(self.turn_ms, took_ms)
            self.turn_cpu_ms = max(self.turn_cpu_ms, used_ms)
            if has_snapshot or driver.disk.has_work:
                self.snapshot_turn_ms = max(self.snapshot_turn_ms, took_ms)
                self.snapshot_turn_cpu_ms = max(self.snapshot_turn_cpu_ms, used_ms)
            return more

        Driver.turn = timed  # type: ignore[method-assign]

    def on_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self.collection_began_s = perf_counter()
        else:
            self.collections += 1
            self.collection_ms = max(self.collection_ms, (perf_counter() - self.collection_began_s) * 1000)

    def on_signal(self, *_: object) -> None:
        line = {key: value for key, value in vars(self).items() if key not in ("report", "collection_began_s")}
        unfinished = self.report.with_suffix(".new")
        unfinished.write_text(json.dumps(line))
        unfinished.rename(self.report)
        self.reset()


if __name__ == "__main__":
    stopwatch = Stopwatch(Path(sys.argv[2]))
    stopwatch.watch_turns()
    gc.callbacks.append(stopwatch.on_collection)
    signal.signal(signal.SIGUSR1, stopwatch.on_signal)
    sys.argv = ["zkpy", "serve", sys.argv[1]]
    main()
