"""Twenty processes sell a hundred last items, while those at work are paused beyond their sessions, and killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.demos.seller import ITEMS, TIMEOUT_S, open_stock
from tests.system.processes import ROOT, ServerProcess

pytestmark = pytest.mark.slow

SELLERS = 20
#: Longer than a session lasts, by what the next holder needs to sell the same item.
PAUSE_S = TIMEOUT_S + 0.8
#: Ten times what it takes where nothing else runs.
PATIENCE_S = 240.0


def test_a_last_item_is_sold_once_whoever_is_paused_or_killed(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    stock = open_stock(tmp_path)
    with stock:
        stock.executemany("INSERT INTO stock VALUES (?, 1)", [(item,) for item in range(ITEMS)])
    working = tmp_path / "working"
    working.touch()
    sellers: dict[str, subprocess.Popen[bytes]] = {}
    kills = pauses = 0
    with ServerProcess(tmp_path / "data", tickTime="200") as server, (tmp_path / "sellers.log").open("ab") as log:

        def start(name: str) -> None:
            command = [sys.executable, "-m", "tests.demos.seller", f"127.0.0.1:{server.port}", str(tmp_path), name]
            environ = {**os.environ, "PYTHONPATH": str(ROOT)}
            sellers[name] = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=log)

        def left() -> int:
            return int(stock.execute("SELECT sum(quantity) FROM stock").fetchone()[0])

        try:
            for number in range(SELLERS):
                start(f"seller-{number}")
            paused: dict[str, float] = {}
            deadline_s = time.monotonic() + PATIENCE_S
            while left() or paused:
                assert time.monotonic() < deadline_s, f"{left()} items are left"
                now_s = time.monotonic()
                for name in [name for name, until_s in paused.items() if until_s <= now_s]:
                    sellers[name].send_signal(signal.SIGCONT)
                    del paused[name]
                busy = [name for name in working.read_text().split()[-3:] if name not in paused]
                if left() and busy and dice.random() < 0.3:
                    name = busy[-1]
                    if dice.random() < 0.3:
                        sellers[name].kill()
                        sellers[name].wait()
                        start(name)
                        kills += 1
                    elif len(paused) < 4:
                        sellers[name].send_signal(signal.SIGSTOP)
                        paused[name] = now_s + PAUSE_S
                        pauses += 1
                time.sleep(0.05)
            for process in sellers.values():
                process.wait(PATIENCE_S)
        finally:
            for process in sellers.values():
                process.kill()
                process.wait()
    sold = [item for [item] in stock.execute("SELECT item FROM sold ORDER BY item")]
    admitted = stock.execute("SELECT item, token FROM admitted ORDER BY rowid").fetchall()
    [[refused]] = stock.execute("SELECT count(*) FROM refused").fetchall()
    stock.close()
    print(f"{len(sold)} items sold; {kills} kills, {pauses} pauses; {refused} stale tokens refused")
    assert sold == list(range(ITEMS))
    newest: dict[int, int] = {}
    for item, token in admitted:
        assert token >= newest.get(item, 0), f"a stale token was accepted for item {item}"
        newest[item] = token
    assert kills
    assert pauses
    assert refused, "nobody came late: the fence was not tried"
