"""The service, still without I/O: what a client may ask, and what it is answered.

Read in this order:

- `keeper.py`      Keeper, the door: bytes, commits and time in; packets, proposals and notes out
- `connection.py`  one client connection; `handshake.py`: how it gets a session and identities;
                   `requests.py`: one operation on its way
- `prepare.py`     write + outstanding changes → txn, or the error txn; `multis.py`: the parts of a multi;
                   `outstanding.py`: the tree as it will be; `quick.py`: the usual set and create in one piece
- `reads.py`       answers from the tree; `replies.py`: results → packets
- `sessions.py`    live sessions, ids and passwords; `expiry.py`: deadlines in buckets
- `auth.py`        identities, ACL checks; `throttle.py`: how many may connect; `reaper.py`: containers and TTL nodes
- `standing.py`    a member's standing in its ensemble; `leading.py`, `learning.py` (and `member.py`, what both
                   have in common): what it does there; `readonly.py`: what readers get without a leader
- `commands.py`    four-letter words, from `statistics.py`
- `settings.py`    every limit and switch of all this
"""
