"""What the protocol needs to know of the configuration; each field's Apache key stands beside it."""

import attrs


@attrs.frozen
class Settings:
    """One server's part in an ensemble. Times in milliseconds; limits in ticks."""

    sid: int  # myid
    tick_ms: int = 3000  # tickTime
    init_limit: int = 10  # initLimit
    sync_limit: int = 5  # syncLimit
    connect_limit: int = 0  # connectToLearnerMasterLimit; 0 = initLimit
    finalize_wait_ms: int = 200  # zookeeper.fastleader.finalizeWait
    min_notification_ms: int = 200  # zookeeper.fastleader.minNotificationInterval
    max_notification_ms: int = 60_000  # zookeeper.fastleader.maxNotificationInterval
    #: How long an observer rests before it looks for a leader again; drawn by whoever makes the settings, from
    #: 0 to zookeeper.observer.election.DelayMs, so that a thousand observers do not ask at once.
    observer_rest_ms: int = 0
    commit_log_count: int = 500  # zookeeper.commitLogCount
    force_snap: bool = False  # zookeeper.forceSnapshotSync
    #: With -1 a leader waits for the quorum of its epoch as long as initLimit allows.
    max_epoch_wait_ms: int = -1  # zookeeper.leader.maxTimeToWaitForEpoch

    @property
    def init_ms(self) -> int:
        """How long discovery and synchronization may take."""
        return self.init_limit * self.tick_ms

    @property
    def sync_ms(self) -> int:
        """How long the other side may be silent, or a proposal unacknowledged, during broadcast."""
        return self.sync_limit * self.tick_ms

    @property
    def connect_ms(self) -> int:
        """How long it may take to get a link to the leader."""
        return (self.connect_limit if self.connect_limit > 0 else self.init_limit) * self.tick_ms
