"""Sockets, disk and clock: the only floor that knows Trio, and the only one that does anything.

Read in this order:

- `server.py`   the nursery: every task and what it owns
- `driver.py`   the turn: drain the hub, feed the replica, Ready → disk, packets → sockets
- `hub.py`      all client sockets in one selector: read all, send once per connection per turn
- `disk.py`     the log: in the turn while syncs are quick, in a thread while they are not; snapshots in slices
- `member.py`   a member of an ensemble, put together; `peers.py`: what its decisions mean for the others
- `election_links.py`, `quorum_links.py`   the two ports between members; `sockets.py`: what all ports share
- `config.py`   zoo.cfg and flags → Config; `settings.py`, `properties.py`, `membership.py`: its keys, syntax, members
- `logs.py`     one line per event
"""
