"""Counters and gauges of one server, as the four-letter words and metrics show them.

Plain integers that the keeper raises as it works; times in milliseconds. Source: ServerStats, ServerMetrics.
"""


class Statistics:
    """What happened since the start, or since the last `reset` (srst)."""

    def __init__(self, started_ms: int) -> None:
        self.started_ms = started_ms
        self.outstanding = 0
        self.auth_failed = 0
        self.reset()

    def reset(self) -> None:
        """Forget latencies, packet counts and every counter; not what is a state."""
        self.packets_received = 0
        self.packets_sent = 0
        self.bytes_received = 0
        self.latency_count = 0
        self.latency_total_ms = 0
        self.latency_min_ms = -1
        self.latency_max_ms = 0
        self.response_last = -1
        self.response_min = -1
        self.response_max = -1
        self.connection_requests = 0
        self.connection_revalidations = 0
        self.connections_rejected = 0
        self.connections_dropped_by_throttle = 0
        self.sessionless_expired = 0
        self.stale_sessions_expired = 0
        self.unsuccessful_handshakes = 0
        self.large_requests_rejected = 0
        self.commits = 0
        self.snapshots = 0
        self.digest_mismatches = 0
        self.reply_cache_hits = 0
        self.reply_cache_misses = 0
        self.watch_bytes = 0
        self.response_bytes = 0
        self.syncs = 0
        self.sync_total_ms = 0
        self.sync_max_ms = 0
        self.slow_syncs = 0
        self.quota_exceeded: dict[str, int] = {}

    def add_latency(self, latency_ms: int, count: int = 1) -> None:
        """`count` requests were answered, each `latency_ms` after it arrived."""
        self.latency_count += count
        self.latency_total_ms += latency_ms * count
        if latency_ms > self.latency_max_ms:
            self.latency_max_ms = latency_ms
        if latency_ms < self.latency_min_ms or self.latency_min_ms < 0:
            self.latency_min_ms = latency_ms
