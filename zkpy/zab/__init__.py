"""ZAB, the atomic broadcast: every member delivers the same txns in the same order. A txn is opaque bytes here.

    proposal ─→ synced on my disk ─→ acked by a quorum ─→ committed ─→ applied, in zxid order

A standalone server is a quorum of one: its own synced log is the quorum, and the path of a txn is the same.

- `ready.py`    Ready: what the driver must do now, in order
- `peer.py`     Peer, the only door
- `history.py`  the log's tail in memory: proposed ≥ synced ≥ committed
"""
