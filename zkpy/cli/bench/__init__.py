"""`zkpy bench`: load for any ZooKeeper server or ensemble, and what came of it.

shapes.py     what can be measured, and how figures are written; scripts/bench has both from here
histogram.py  latencies, counted in buckets that are at most 1.6 % wide
requests.py   the requests of a shape, encoded once; which replies they must get
wire.py       the generator's own connections: handshake, auth, requests out, checked replies in
interval.py   what is measured, from when to when, and how busy we were ourselves
load.py       the loops, one for each kind of shape: get and its kin, session, watch
tree.py       the node of our own that all this happens below: made, emptied, removed
report.py     progress, tables, histogram, JSON
command.py    the command
"""
