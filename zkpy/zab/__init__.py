"""ZAB, the atomic broadcast: every member delivers the same txns in the same order. A txn is opaque bytes here.

It speaks Apache ZooKeeper's own protocol (3.5 to 3.9), so a member cannot tell whether its neighbour is Apache's.

    election         looking servers exchange votes until a quorum names the same leader: the one with the greatest
                     (currentEpoch, last zxid, sid) among them. LOOKING → LEADING, FOLLOWING or OBSERVING.
    discovery        learner: FOLLOWERINFO with the epoch it has accepted. Leader: a greater one in LEADERINFO, on disk
                     as acceptedEpoch first. Learner: the same on disk, then ACKEPOCH with its currentEpoch and zxid.
                     With a quorum of those the reign is new: nobody in it will follow an older leader again.
    synchronization  the leader brings each learner to its own history, by DIFF (what is missing), TRUNC (cut, then
                     what is missing) or SNAP (the whole tree), then NEWLEADER. Learner: the history on disk, then
                     currentEpoch, then ACK. With a quorum of those the leader's history is committed; UPTODATE; serve.
    broadcast        PROPOSAL → log, sync → ACK → (a quorum) → COMMIT to followers, INFORM to observers → applied,
                     in zxid order. PING keeps the links alive; who loses its quorum or its leader looks again.

    proposal ─→ synced on my disk ─→ acked by a quorum ─→ committed ─→ applied, in zxid order

A standalone server is a quorum of one: its own synced log is the quorum, and the path of a txn is the same.

Nothing here waits, opens, reads a clock or rolls dice: words, time and finished syncs are given to `Peer`, and what is
to be done comes out as a `Ready`. Read in this order:

- `ready.py`     Ready: what the driver must do now, in order; the three rules that make the order safe
- `peer.py`      Peer, the only door: every input, and what it means; the doors between the roles
- `role.py`      what every role answers to; `alone.py`: the one role of a standalone server
- `election.py`  Looking; `votes.py`: the order of votes
- `leading.py`   Leading: one reign; `progress.py`: its view of one learner, and the plan DIFF, TRUNC or SNAP;
                 `synchronizer.py` carries the plan out
- `following.py` Learning: a follower's or an observer's part in a reign
- `history.py`   the log's tail in memory: proposed ≥ synced, proposed ≥ committed
- `quorum.py`    who the members are, and which of them are enough; `settings.py`: times and limits
"""
