"""One of many sellers of last items, as a process: `python -m tests.demos.seller HOSTS DIRECTORY NAME`.

It takes the lock of an item, looks whether one is left, works on the sale, and writes it down behind the fence, which
alone decides: nothing here asks whether the lock is still held. Ends once nothing is left.

It tells the file `working` its name whenever it begins to work.
"""

import os
import random
import sqlite3
import sys
import time
from pathlib import Path

from kazoo.client import KazooClient

from zkpy.recipes import Lock, NotAcquired, Sequencer, SqlFence, StaleSequencer

TIMEOUT_S = 2.0
WORK_S = 0.1
ITEMS = 100
#: Out of so many items each seller picks one, so that several want the same.
COUNTER = 6


def open_stock(directory: Path) -> sqlite3.Connection:
    """The protected resource: what is left, what was sold, and each token in the order it was let in or refused."""
    stock = sqlite3.connect(directory / "stock", timeout=60)
    stock.execute("PRAGMA synchronous = OFF")  # processes die here, the machine does not
    with stock:
        stock.execute("CREATE TABLE IF NOT EXISTS stock (item INTEGER PRIMARY KEY, quantity INTEGER)")
        stock.execute("CREATE TABLE IF NOT EXISTS sold (item INTEGER, token INTEGER, name TEXT)")
        stock.execute("CREATE TABLE IF NOT EXISTS admitted (item INTEGER, token INTEGER)")
        stock.execute("CREATE TABLE IF NOT EXISTS refused (item INTEGER, token INTEGER)")
        SqlFence().create(stock)
    return stock


def sell(hosts: str, directory: Path, name: str) -> None:
    """Sell until nothing is left."""
    stock = open_stock(directory)
    working = os.open(directory / "working", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    client = KazooClient(hosts, timeout=TIMEOUT_S)
    client.start(timeout=60)
    while True:
        left = stock.execute("SELECT item FROM stock WHERE quantity > 0 ORDER BY item LIMIT ?", (COUNTER,)).fetchall()
        if not left:
            break
        [item] = random.choice(left)
        try:
            with Lock(client, f"/stock/{item}", owner=name).acquire(timeout_s=1.0) as grant:
                try:
                    _sell_one(stock, item, name, grant.sequencer, working)
                except StaleSequencer:
                    with stock:
                        stock.execute("INSERT INTO refused VALUES (?, ?)", (item, grant.token))
        except NotAcquired:
            continue
    client.stop()


def _sell_one(stock: sqlite3.Connection, item: int, name: str, sequencer: Sequencer, working: int) -> None:
    fence = SqlFence()
    with stock:
        fence.admit(stock, sequencer)
        stock.execute("INSERT INTO admitted VALUES (?, ?)", (item, sequencer.token))
        [[quantity]] = stock.execute("SELECT quantity FROM stock WHERE item = ?", (item,)).fetchall()
    if quantity == 0:
        return
    os.write(working, f"{name}\n".encode())
    time.sleep(WORK_S)
    with stock:
        fence.admit(stock, sequencer)
        stock.execute("INSERT INTO admitted VALUES (?, ?)", (item, sequencer.token))
        stock.execute("UPDATE stock SET quantity = ? WHERE item = ?", (quantity - 1, item))
        stock.execute("INSERT INTO sold VALUES (?, ?, ?)", (item, sequencer.token, name))


if __name__ == "__main__":
    sell(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
