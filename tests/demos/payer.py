"""One replica of a payments service, as a process: `python -m tests.demos.payer HOSTS DIRECTORY NAME fenced|open`.

Only the leader pays, in the order of the payments' numbers: it looks up which is next, works on it, and writes it down.
Whoever is paused between looking and writing writes late; `fenced` lets the ledger refuse that, `open` does not.

It tells the file `beliefs` what it believes, a line each: name, token, when it first believed itself leader under this
token, and its local deadline, on the clock that all processes of a machine share.
"""

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

from kazoo.client import KazooClient

from zkpy.recipes import Election, SqlFence, StaleSequencer
from zkpy.recipes.lease import now_s

PATH = "/payments/leader"
TIMEOUT_S = 1.0
#: What a payment takes, and how often who does not lead looks whether it does.
WORK_S = 0.02
LOOK_S = 0.01


def open_ledger(directory: Path) -> sqlite3.Connection:
    """The protected resource: payments that were carried out, each as often as it was, and what was refused."""
    ledger = sqlite3.connect(directory / "ledger", timeout=60)
    ledger.execute("PRAGMA synchronous = OFF")  # processes die here, the machine does not
    with ledger:
        ledger.execute("CREATE TABLE IF NOT EXISTS paid (number INTEGER, token INTEGER, name TEXT)")
        ledger.execute("CREATE INDEX IF NOT EXISTS numbers ON paid (number)")
        ledger.execute("CREATE TABLE IF NOT EXISTS refused (number INTEGER, token INTEGER, name TEXT)")
        SqlFence().create(ledger)
    return ledger


def pay(hosts: str, directory: Path, name: str, *, is_fenced: bool) -> None:
    """Stand for election and pay while elected, until killed."""
    ledger = open_ledger(directory)
    fence = SqlFence()
    beliefs = os.open(directory / "beliefs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    client = KazooClient(hosts, timeout=TIMEOUT_S)
    client.start(timeout=60)
    since: dict[int, float] = {}
    with Election(client, PATH, owner=name) as election:
        while True:
            grant = election.grant
            if grant is None:
                time.sleep(LOOK_S)
                continue
            began_s = since.setdefault(grant.token, now_s())
            line = json.dumps([name, grant.token, began_s, grant._lease.deadline_s])
            os.write(beliefs, f"{line}\n".encode())
            number = 0
            try:
                with ledger:
                    if is_fenced:
                        fence.admit(ledger, grant.sequencer)
                    [[newest]] = ledger.execute("SELECT coalesce(max(number), 0) FROM paid").fetchall()
                number = newest + 1
                time.sleep(WORK_S)
                with ledger:
                    if is_fenced:
                        fence.admit(ledger, grant.sequencer)
                    ledger.execute("INSERT INTO paid VALUES (?, ?, ?)", (number, grant.token, name))
            except StaleSequencer:
                with ledger:
                    ledger.execute("INSERT INTO refused VALUES (?, ?, ?)", (number, grant.token, name))


if __name__ == "__main__":
    pay(sys.argv[1], Path(sys.argv[2]), sys.argv[3], is_fenced=sys.argv[4] == "fenced")
