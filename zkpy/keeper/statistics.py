"""Counters and gauges of one server, as the four-letter words and metrics show them.

Plain integers that the keeper raises as it works; times in milliseconds. Source: ServerStats, ServerMetrics.
"""

from zkpy.keeper.metrics import Summary
from zkpy.keeper.namespaces import Namespaces


class Statistics:
    """What happened since the start, or since the last `reset` (srst)."""

    __slots__ = (
        "auth_failed",
        "bytes_received",
        "closed_not_serving",
        "commits",
        "connection_requests",
        "connection_revalidations",
        "connections_dropped_by_throttle",
        "connections_rejected",
        "digest_mismatches",
        "large_requests_rejected",
        "latency_count",
        "latency_max_ms",
        "latency_min_ms",
        "latency_total_ms",
        "namespaces",
        "packets_received",
        "packets_sent",
        "quota_exceeded",
        "response_bytes",
        "response_last",
        "response_max",
        "response_min",
        "sessionless_expired",
        "slow_syncs",
        "snapshots",
        "stale_sessions_expired",
        "started_ms",
        "summaries",
        "unsuccessful_handshakes",
        "watch_bytes",
    )

    def __init__(self, started_ms: int) -> None:
        self.started_ms = started_ms
        self.auth_failed = 0
        self.namespaces = Namespaces()
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
        self.closed_not_serving = 0
        self.stale_sessions_expired = 0
        self.unsuccessful_handshakes = 0
        self.large_requests_rejected = 0
        self.commits = 0
        self.snapshots = 0
        self.digest_mismatches = 0
        self.watch_bytes = 0
        self.response_bytes = 0
        self.slow_syncs = 0
        self.quota_exceeded: dict[str, int] = {}
        #: Observed values by metric name (zkpy.keeper.metrics).
        self.summaries: dict[str, Summary] = {}
        self.namespaces.reset()

    def observe(self, name: str, value: int, count: int = 1) -> None:
        """`count` observations of `value` under a metric's name."""
        self.observe_range(name, value * count, count, value, value)

    def observe_range(self, name: str, total: int, count: int, least: int, most: int) -> None:
        """`count` observations between `least` and `most` that sum up to `total`, under a metric's name."""
        summary = self.summaries.get(name)
        if summary is None:
            summary = self.summaries[name] = Summary()
        summary.add_range(total, count, least, most)

    def add_responses(self, sizes: list[int]) -> None:
        """Packets of these sizes were handed to a client."""
        self.packets_sent += len(sizes)
        self.response_bytes += sum(sizes)
        self.response_last = sizes[-1]
        least, most = min(sizes), max(sizes)
        if least < self.response_min or self.response_min < 0:
            self.response_min = least
        if most > self.response_max:
            self.response_max = most

    def counters(self) -> dict[str, int]:
        """The counters by their published names."""
        return {
            "watch_bytes": self.watch_bytes,
            "connection_rejected": self.connections_rejected,
            "sessionless_connections_expired": self.sessionless_expired,
            "connection_drop_count": self.connections_dropped_by_throttle,
            "bytes_received_count": self.bytes_received,
            "response_bytes": self.response_bytes,
            "connection_revalidate_count": self.connection_revalidations,
            "unsuccessful_handshake": self.unsuccessful_handshakes,
            "commit_count": self.commits,
            "large_requests_rejected": self.large_requests_rejected,
            "digest_mismatches_count": self.digest_mismatches,
            "connection_request_count": self.connection_requests,
            "snap_count": self.snapshots,
            "stale_sessions_expired": self.stale_sessions_expired,
            "cnxn_closed_without_zk_server_running": self.closed_not_serving,
        }

    def add_latency(self, latency_ms: int, count: int = 1) -> None:
        """`count` requests were answered, each `latency_ms` after it arrived."""
        self.add_latencies(latency_ms * count, count, latency_ms, latency_ms)

    def add_latencies(self, total_ms: int, count: int, least_ms: int, most_ms: int) -> None:
        """`count` requests were answered between `least_ms` and `most_ms` after they arrived, `total_ms` in sum."""
        self.latency_count += count
        self.latency_total_ms += total_ms
        if most_ms > self.latency_max_ms:
            self.latency_max_ms = most_ms
        if least_ms < self.latency_min_ms or self.latency_min_ms < 0:
            self.latency_min_ms = least_ms
