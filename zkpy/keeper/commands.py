"""Four-letter words: four bytes in place of a client's first frame, answered in text.

Shapes are Apache's to the letter, because scripts cut them up. Only words on the whitelist run. Sources: the package
server.command, NIOServerCnxn, ServerCnxn.dumpConnectionInfo, ServerStats.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from struct import unpack
from typing import TYPE_CHECKING, Final

import attrs

from zkpy.keeper import metrics
from zkpy.keeper.connection import Connection
from zkpy.keeper.statistics import Statistics
from zkpy.proto.paths import name_of, namespace_of
from zkpy.tree import quota

if TYPE_CHECKING:
    from zkpy.keeper.keeper import Keeper

#: First four bytes of a connection → the word's name.
WORDS: Final[dict[bytes, str]] = {
    **{
        word.encode(): word
        for word in (
            "ruok isro srvr stat conf cons dump envi mntr wchs wchc wchp dirs crst srst gtmk stmk hash"
        ).split()
    },
    b"\xff\xf4\xff\xfd": "telnet close",
}

#: What gtmk says until stmk says otherwise (ZooTrace.traceMask).
TRACE_MASK: Final = 306


#: ZooKeeper's own scripts ask for it, so no whitelist keeps it out.
ALWAYS_ALLOWED: Final = "srvr"


#: What a member that serves nobody answers all the same, and what it says to all other words.
_IDLE_WORDS: Final = frozenset(("ruok", "isro", "gtmk", "stmk", "envi", "telnet close"))
_NOT_SERVING: Final = "This ZooKeeper instance is not currently serving requests\n"


def run(keeper: "Keeper", client: Connection, word: str, rest: bytes) -> bytes | None:
    """The answer to `word`; None while it needs more bytes than the `rest` that came with it."""
    allowed = keeper.settings.four_letter_words
    if word not in allowed and "*" not in allowed and word != ALWAYS_ALLOWED:
        return f"{word} is not executed because it is not in the whitelist.\n".encode()
    if not keeper.is_serving and word not in _IDLE_WORDS:
        return _NOT_SERVING.encode() if word != "hash" else _NOT_SERVING.rstrip().encode()
    if word == "stmk":
        if len(rest) < 8:
            return None
        keeper.trace_mask = unpack(">q", rest[:8])[0]
        return str(keeper.trace_mask).encode()
    return _ANSWERS[word](keeper, client).encode()


def _ruok(keeper: "Keeper", client: Connection) -> str:
    return "imok"


def _isro(keeper: "Keeper", client: Connection) -> str:
    if keeper.read_only is not None:
        return "ro"
    return "rw" if keeper.is_serving else "null"


def _gtmk(keeper: "Keeper", client: Connection) -> str:
    return str(keeper.trace_mask)


def _telnet_close(keeper: "Keeper", client: Connection) -> str:
    return ""


def _srvr(keeper: "Keeper", client: Connection) -> str:
    return _head(keeper) + _server(keeper)


def _stat(keeper: "Keeper", client: Connection) -> str:
    lines = "".join(f"{_brief(one, client)})\n" for one in keeper.connections)
    return f"{_head(keeper)}Clients:\n{lines}\n" + _server(keeper)


def _head(keeper: "Keeper") -> str:
    mode = "READ-ONLY mode; serving only read-only clients\n" if keeper.read_only is not None else ""
    return f"Zookeeper version: {keeper.host.version}\n{mode}"


def _server(keeper: "Keeper") -> str:
    statistics = keeper.statistics
    proposals = ""
    if keeper.leading is not None:
        last, least, most = keeper.leading.proposal_sizes
        proposals = f"Proposal sizes last/min/max: {last}/{least}/{most}\n"
    return (
        f"Latency min/avg/max: {max(0, statistics.latency_min_ms)}/{_average(statistics)}/{statistics.latency_max_ms}\n"
        f"Received: {statistics.packets_received}\n"
        f"Sent: {statistics.packets_sent}\n"
        f"Connections: {len(keeper.connections)}\n"
        f"Outstanding: {len(keeper.in_flight)}\n"
        f"Zxid: 0x{_hex(keeper.tree.last_zxid)}\n"
        f"Mode: {keeper.role}\n"
        f"Node count: {keeper.tree.node_count}\n"
        f"{proposals}"
    )


def _cons(keeper: "Keeper", client: Connection) -> str:
    epoch_ms = keeper.wall_ms - keeper.now_ms
    return "".join(_full(one, client, epoch_ms) for one in keeper.connections) + "\n"


def _brief(one: Connection, asking: Connection) -> str:
    operations = 0 if one is asking else 1
    return f" /{one.address}[{operations}](queued={len(one.waiting)},recved={one.received},sent={one.sent}"


def _full(one: Connection, asking: Connection, epoch_ms: int) -> str:
    text = _brief(one, asking)
    if one.session is not None:
        text += (
            f",sid=0x{_hex(one.session.id)},lop={one.last_op},est={one.established_ms + epoch_ms},to={one.timeout_ms}"
        )
        if one.last_cxid >= 0:
            text += f",lcxid=0x{_hex(one.last_cxid)}"
        average = one.latency_total_ms // one.latency_count if one.latency_count else 0
        text += (
            f",lzxid=0x{_hex(one.last_zxid)},lresp={one.last_response_ms},llat={one.last_latency_ms}"
            f",minlat={max(0, one.latency_min_ms)},avglat={average},maxlat={one.latency_max_ms}"
        )
    return text + ")\n"


def _conf(keeper: "Keeper", client: Connection) -> str:
    host, settings = keeper.host, keeper.settings
    data_size, log_size = host.sizes()
    return (
        f"clientPort={host.client_port}\n"
        "secureClientPort=-1\n"
        f"dataDir={host.data_dir}\n"
        f"dataDirSize={data_size}\n"
        f"dataLogDir={host.data_log_dir}\n"
        f"dataLogSize={log_size}\n"
        f"tickTime={settings.tick_time_ms}\n"
        f"maxClientCnxns={host.max_client_cnxns}\n"
        f"minSessionTimeout={settings.min_session_timeout_ms}\n"
        f"maxSessionTimeout={settings.max_session_timeout_ms}\n"
        f"clientPortListenBacklog={host.listen_backlog}\n"
        # A standalone server calls itself 0 here, whatever its session ids say.
        f"serverId={0 if keeper.membership is None else settings.server_id}\n"
        # Who the members are is not for readers to know.
        f"{host.member}{host.membership if keeper.read_only is None else ''}"
    )


def _dirs(keeper: "Keeper", client: Connection) -> str:
    data_size, log_size = keeper.host.sizes()
    return f"datadir_size: {data_size}\nlogdir_size: {log_size}\n"


def _envi(keeper: "Keeper", client: Connection) -> str:
    free, most, total = keeper.host.memory()
    lines = [("zookeeper.version", keeper.host.version), *keeper.host.environment]
    lines += [("os.memory.free", f"{free}MB"), ("os.memory.max", f"{most}MB"), ("os.memory.total", f"{total}MB")]
    return "Environment:\n" + "".join(f"{key}={value}\n" for key, value in lines)


def _dump(keeper: "Keeper", client: Connection) -> str:
    text = "SessionTracker dump:\n"
    has_local = keeper.settings.local_sessions and keeper.membership is not None
    if has_local:
        text += "Local Session " + _buckets(keeper, _sessions(keeper, is_local=True))
    if keeper.learning is None:
        text += ("Global " if has_local else "") + "Session " + _buckets(keeper, _sessions(keeper, is_local=False))
    else:
        timeouts = keeper.tree.sessions.timeouts
        text += f"Global Sessions({len(timeouts)}):\n"
        text += "".join(f"0x{_hex(session_id)}\t{timeouts[session_id]}ms\n" for session_id in sorted(timeouts))
    ephemerals = keeper.tree.sessions.ephemerals
    text += f"ephemeral nodes dump:\nSessions with Ephemerals ({len(ephemerals)}):\n"
    for session_id, paths in ephemerals.items():
        text += f"0x{_hex(session_id)}:\n" + "".join(f"\t{path}\n" for path in paths)
    connections: dict[int, list[str]] = {}
    for one in keeper.connections:
        deadline = keeper.connection_deadline_ms(one)
        connections.setdefault(deadline, []).append(f"ip: /{one.address} sessionId: 0x{_hex(one.session_id)}")
    return text + "Connections dump:\nConnections " + _buckets(keeper, connections)


def _sessions(keeper: "Keeper", *, is_local: bool) -> dict[int, list[str]]:
    """Deadline → the sessions that expire here then."""
    buckets = {
        deadline: [f"0x{_hex(session.id)}" for session in bucket if session.is_local == is_local]
        for deadline, bucket in keeper.sessions.expiry.buckets.items()
    }
    return {deadline: found for deadline, found in buckets.items() if found}


def _buckets(keeper: "Keeper", buckets: dict[int, list[str]]) -> str:
    text = f"Sets ({len(buckets)})/({sum(map(len, buckets.values()))}):\n"
    for deadline in sorted(buckets):
        when = _java_date(keeper.wall_ms + deadline - keeper.now_ms)
        text += f"{len(buckets[deadline])} expire at {when}:\n" + "".join(f"\t{line}\n" for line in buckets[deadline])
    return text


def _wchs(keeper: "Keeper", client: Connection) -> str:
    watching = keeper.watches.data_paths()
    total = sum(map(len, watching.values()))
    return f"{len(watching)} connections watching {len(keeper.watches.data)} paths\nTotal watches:{total}\n"


def _wchc(keeper: "Keeper", client: Connection) -> str:
    text = ""
    for watcher, paths in keeper.watches.data_paths().items():
        text += f"0x{_hex(watcher.session_id)}\n" + "".join(f"\t{path}\n" for path in paths)
    return text + "\n"


def _wchp(keeper: "Keeper", client: Connection) -> str:
    text = ""
    leaving = keeper.watches.leaving
    for path, entry in keeper.watches.data.items():
        watchers = [watcher for watcher in entry if watcher not in leaving]
        if watchers:
            text += f"{path}\n" + "".join(f"\t0x{_hex(watcher.session_id)}\n" for watcher in watchers)
    return text + "\n"


def _crst(keeper: "Keeper", client: Connection) -> str:
    for one in keeper.connections:
        one.reset_statistics()
    return "Connection stats reset.\n"


def _srst(keeper: "Keeper", client: Connection) -> str:
    keeper.statistics.reset()
    if keeper.leading is not None:
        keeper.leading.proposal_sizes = (-1, -1, -1)
    return "Server stats reset.\n"


def _hash(keeper: "Keeper", client: Connection) -> str:
    return "".join(f"{_hex(zxid)}: {digest}\n" for zxid, digest in keeper.tree.digest_log)


def _mntr(keeper: "Keeper", client: Connection) -> str:
    return "".join(f"zk_{key}\t{value}\n" for key, value in monitor(keeper))


def monitor(keeper: "Keeper") -> list[tuple[str, str]]:
    """Every metric as (name, text), in Apache's order."""
    keeper.count()
    statistics = keeper.statistics
    pairs = [("version", keeper.host.version), ("server_state", keeper.role)]
    gauges = _gauges(keeper)
    names = metrics.GAUGES
    learners: tuple[int, ...] = ()
    if keeper.membership is not None and keeper.read_only is None:
        membership = keeper.membership()
        pairs.append(("peer_state", f"{_PEER_STATES[keeper.role]} - broadcast"))
        if keeper.role == "observer":
            pairs.append(("observer_master_id", str(membership.leader)))
        gauges |= attrs.asdict(membership)
        learners = membership.learner_sids
        names = metrics.LEADER_GAUGES if keeper.leading is not None else metrics.LEARNER_GAUGES
    pairs += ((name, str(gauges.get(name, 0))) for name in names)
    pairs += _quota_gauges(keeper)
    counters = statistics.counters()
    pairs += ((name, str(counters.get(name, 0))) for name in metrics.COUNTERS)
    pairs += (
        (f"{namespace}_quota_exceeded_error_per_namespace", str(count))
        for namespace, count in statistics.quota_exceeded.items()
    )
    for name in metrics.BASIC_SUMMARIES:
        pairs += statistics.summaries.get(name, metrics.EMPTY).lines(name, advanced=False)
    for name in metrics.ADVANCED_SUMMARIES:
        pairs += statistics.summaries.get(name, metrics.EMPTY).lines(name, advanced=True)
    # What a leader has for a learner waits in no queue here.
    for sid in learners:
        pairs += metrics.EMPTY.lines(f"{sid}_learner_handler_qp_size", advanced=False)
    pairs += statistics.namespaces.lines()
    for sid in learners:
        pairs += metrics.EMPTY.lines(f"{sid}_learner_handler_qp_time_ms", advanced=True)
    return pairs


_PEER_STATES: Final = {"leader": "leading", "follower": "following", "observer": "observing"}


def _gauges(keeper: "Keeper") -> dict[str, object]:
    statistics = keeper.statistics
    open_now, open_most = keeper.host.descriptors()
    leading: dict[str, object] = {}
    if keeper.leading is not None:
        last, least, most = keeper.leading.proposal_sizes
        leading = {
            "last_proposal_size": last,
            "min_proposal_size": least,
            "max_proposal_size": most,
            "leader_uptime": keeper.now_ms - keeper.leading.began_ms,
        }
    return leading | {
        "ephemerals_count": keeper.tree.ephemerals_count,
        "num_alive_connections": len(keeper.connections),
        "avg_latency": _average(statistics),
        "outstanding_requests": len(keeper.in_flight),
        "znode_count": keeper.tree.node_count,
        "global_sessions": len(keeper.tree.sessions.timeouts),
        "local_sessions": sum(session.is_local for session in keeper.sessions.by_id.values()),
        "last_client_response_size": statistics.response_last,
        "packets_sent": statistics.packets_sent,
        "packets_received": statistics.packets_received,
        "max_client_response_size": statistics.response_max,
        "connection_drop_probability": 0.0,
        "watch_count": keeper.watches.total,
        "auth_failed_count": statistics.auth_failed,
        "min_latency": max(0, statistics.latency_min_ms),
        "max_file_descriptor_count": open_most,
        "approximate_data_size": keeper.tree.data_size,
        "open_file_descriptor_count": open_now,
        "uptime": keeper.now_ms - statistics.started_ms,
        "max_latency": statistics.latency_max_ms,
        "min_client_response_size": statistics.response_min,
    }


def _quota_gauges(keeper: "Keeper") -> list[tuple[str, str]]:
    """Limits and usage of all quotas, summed up under the first names of their paths (QuotaMetricsUtils)."""
    sums: dict[str, int] = {}
    nodes = keeper.tree.nodes
    todo = [quota.ROOT]
    while todo:
        path = todo.pop()
        node = nodes.get(path)
        if node is None:
            continue
        if node.children:
            todo += node.children
            continue
        namespace, name = namespace_of(path[len(quota.ROOT) :]), name_of(path)
        if node.data is None or name not in quota.NAMES:
            continue
        try:
            said = quota.Usage(node.data)
        except ValueError:
            continue
        for unit, hard in (("bytes", "byteHardLimit"), ("count", "countHardLimit")):
            number, kind = said.get(unit), "usage"
            if name == quota.LIMITS:
                number, kind = said.get(hard) if said.get(hard) > -1 else number, "limit"
            key = f"{namespace}_quota_{unit}_{kind}_per_namespace"
            sums[key] = sums.get(key, 0) + number
    return [(key, str(number)) for key, number in sums.items()]


def _average(statistics: Statistics) -> float:
    count = statistics.latency_count
    return round(statistics.latency_total_ms / count, 4) if count else 0.0


def _hex(number: int) -> str:
    return f"{number & 0xFFFFFFFFFFFFFFFF:x}"


def _java_date(wall_ms: int) -> str:
    """The time as `java.util.Date` prints it in UTC."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%a %b %d %H:%M:%S UTC %Y")


_ANSWERS: Final[dict[str, Callable[["Keeper", Connection], str]]] = {
    "ruok": _ruok,
    "isro": _isro,
    "srvr": _srvr,
    "stat": _stat,
    "conf": _conf,
    "cons": _cons,
    "dump": _dump,
    "envi": _envi,
    "mntr": _mntr,
    "wchs": _wchs,
    "wchc": _wchc,
    "wchp": _wchp,
    "dirs": _dirs,
    "crst": _crst,
    "srst": _srst,
    "gtmk": _gtmk,
    "hash": _hash,
    "telnet close": _telnet_close,
}
