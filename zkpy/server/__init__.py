"""Sockets, disk and clock: the only floor that knows Trio, and the only one that does anything.

Read in this order:

- `server.py`   the nursery: every task and what it owns
- `driver.py`   the turn: drain the hub, feed the replica, Ready → disk, packets → sockets
- `hub.py`      all client sockets in one selector: read all, send once per connection per turn
- `disk.py`     the log: in the turn while syncs are quick, in a thread while they are not; snapshots in slices
- `config.py`   zoo.cfg and flags → Config; `settings.py`, `properties.py`: its keys and its syntax
- `logs.py`     one line per event
"""
