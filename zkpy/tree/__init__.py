"""The replicated state: a tree of znodes, the sessions that own some of them, and who watches what.

No clock and no network: everything here follows from the txns applied, in zxid order, so that equal histories make
equal trees (and equal digests, `digest.py`).

Read in this order:

- `acl.py`      interned ACLs and the permission check
- `znode.py`    one znode with its stat; what an ephemeral owner means
- `digest.py`   the running checksum that two equal trees share
- `sessions.py` replicated sessions and the ephemerals they own
- `quota.py`    the quota nodes under /zookeeper/quota and the counts they keep
- `datatree.py` lookups, and `apply`: the only code that changes the tree
- `watches.py`  standing questions; a change → whom to tell
- `image.py`    the tree as bytes, for snapshots
"""
