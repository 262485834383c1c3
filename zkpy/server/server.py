"""The nursery: every task of a server, and what it owns.

    driver     the turn: hub, replica, and the disk while it is quick
    clock      wakes the driver when something is due
    disk       syncs in a thread while the disk is slow
    links      in an ensemble, some for each other member: `member`, `peers`
    purge      deletes old snapshots and logs, now and then

Start: bind the ports (a port in use is known at once), recover the data directory, then serve. Stop: cancel; what is
acknowledged is on disk at any moment, so there is nothing to save.
"""

import ctypes
import errno
import gc
import resource
import socket
import sys
from collections.abc import Callable
from typing import Final

import attrs
import trio

from zkpy.keeper.keeper import Keeper
from zkpy.keeper.settings import Settings
from zkpy.replica import Replica
from zkpy.server.config import Config
from zkpy.server.disk import Disk
from zkpy.server.driver import Driver, now_ms, wall_ms
from zkpy.server.errors import ListenError
from zkpy.server.host import describe_host
from zkpy.server.hub import Hub
from zkpy.server.logs import get_log
from zkpy.server.member import configuration_of, link_up, listen_for_votes, make_peer
from zkpy.server.sockets import DEFAULT_BACKLOG, bind, explain
from zkpy.storage import StorageError, Store, StoreOptions
from zkpy.tree.datatree import DataTree
from zkpy.zab.peer import Peer

log = get_log("zkpy.server")

#: New objects between two collections. A turn's requests are thousands of objects that all die with it, so looking
#: after every 700 (the default) is work for nothing.
GC_THRESHOLD: Final = 10_000
#: How long a thread that has synced waits for the interpreter while a turn runs: Python's own 5 ms is more than the
#: sync of most disks.
SWITCH_INTERVAL_S: Final = 0.0005
#: Buffers of this size on (bytes; glibc's own first choice) are mapped, and unmapped when they are freed.
LARGE_BUFFER: Final = 1 << 17
_M_MMAP_THRESHOLD: Final = -3
#: Errors that another port, rather than another address, would cure.
_PORT_ERRORS: Final = (errno.EADDRINUSE, errno.EACCES)
#: File descriptors that clients do not get: a log or snapshot that cannot be opened is the end.
RESERVED_DESCRIPTORS: Final = 32


@attrs.frozen
class Guest:
    """A server inside of another program, which keeps its own ways with memory, threads and descriptors."""

    make_replica: Callable[[Keeper, Peer | None], Replica]
    #: Called with the driver before its first turn.
    on_driver: Callable[[Driver], None]


async def serve(config: Config, *, on_serving: Callable[[str, int], None], guest: Guest | None = None) -> None:
    """Run a server, alone or a member, until cancelled; `on_serving(host, port)` is called once, when clients may come.

    The process is taken to be the server's own, unless it is a `guest` in it.

    Raises ListenError for an address that cannot be bound, `zkpy.storage.StorageError` for a data directory that cannot
    be used, OSError for a disk that fails.
    """
    listener = _listen(config)
    if guest is None:
        # Before there is a tree: to look through it again and again while it grows takes a quarter of a start's time.
        _tame_garbage_collection()
        _give_memory_back()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with _open_store(config) as store:
            for note in store.recovered.notes:
                log.warning(note)
            await _run(config, listener, store, on_serving, guest)
    finally:
        listener.close()


def _open_store(config: Config) -> Store:
    try:
        return Store(store_options_of(config), _report_progress)
    except OSError as error:
        where = error.filename or config.data_dir
        raise StorageError(f"{where}: {error.strerror or error}: the data directory cannot be used") from error


async def _run(
    config: Config,
    listener: socket.socket,
    store: Store,
    on_serving: Callable[[str, int], None],
    guest: Guest | None,
) -> None:
    now = now_ms()
    host, port = listener.getsockname()[:2]
    members = config.members
    peer = None
    prepare_tree: Callable[[DataTree], None] = _leave
    if members is not None:
        prepare_tree = configuration_of(members)
        prepare_tree(store.tree)
        peer = make_peer(config, members, store, now)
    keeper = Keeper(store.tree, settings_of(config), now, wall_ms(), describe_host(config, store, port))
    statistics = keeper.statistics
    statistics.digest_mismatches = store.recovered.digest_mismatches
    statistics.observe("startup_txns_loaded", store.recovered.replayed)
    replica = Replica(keeper, peer) if guest is None else guest.make_replica(keeper, peer)
    hub = Hub(
        replica,
        [listener],
        max_per_ip=config.max_client_cnxns,
        max_total=config.max_cnxns,
        max_fd=_raise_descriptor_limit() - RESERVED_DESCRIPTORS if guest is None else 0,
        keepalive=config.tcp_keepalive,
        outstanding_limit=_outstanding_limit(config),
    )
    disk = Disk(replica, store, slow_warning_ms=config.fsync_warning_threshold_ms, prepare_tree=prepare_tree)
    driver = Driver(replica, hub, disk)
    if guest is not None:
        guest.on_driver(driver)
    election_listeners: list[socket.socket] = []
    try:
        async with trio.open_nursery() as nursery:
            if members is not None:
                election_listeners += await listen_for_votes(config, members)
                driver.peers = link_up(config, members, nursery, election_listeners, driver, store)
                disk.owes_snapshot = store.wants_snapshot(store.recovered.replayed, 0)
            elif store.recovered.replayed:
                # As Apache does at each start: the next one has less to replay.
                disk.start_snapshot()
            nursery.start_soon(driver.run)
            nursery.start_soon(driver.keep_time)
            nursery.start_soon(disk.sync_slowly, driver.finish)
            nursery.start_soon(disk.finish_snapshots)
            if config.purge_interval_hours > 0:
                nursery.start_soon(_purge_now_and_then, store, config)
            driver.hear(_nothing)
            on_serving(host, port)
    finally:
        disk.close()
        if driver.peers is not None:
            driver.peers.close()
        hub.close()
        for one in election_listeners:
            one.close()


def _nothing() -> None:
    """No word: what a Peer has to say before anything has happened."""


def _leave(tree: DataTree) -> None:
    """A server that is alone has nothing to put into its tree."""


async def _purge_now_and_then(store: Store, config: Config) -> None:
    while True:
        try:
            for path in await trio.to_thread.run_sync(store.purge, config.snap_retain_count):
                log.info("purged", file=path)
        except OSError as error:
            log.error("cannot purge", error=error)  # the next time may go better; no data hangs on it
        await trio.sleep(config.purge_interval_hours * 3600)


def _raise_descriptor_limit() -> int:
    """Allow as many open files as the system lets us, as the JVM does; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # some systems have a lower limit that they do not tell
    return soft if soft != resource.RLIM_INFINITY else 0x7FFFFFFF


def _report_progress(replayed: int) -> None:
    log.info("replaying the txn log", txns=replayed)


def _listen(config: Config) -> socket.socket:
    """The socket that clients connect to. Raises ListenError."""
    host = config.client_address.removeprefix("[").removesuffix("]")
    backlog = config.listen_backlog if config.listen_backlog > 0 else DEFAULT_BACKLOG
    try:
        return bind(host, config.client_port, backlog)
    except (OSError, UnicodeError) as error:
        where = f"{config.client_address or '*'}:{config.client_port}"
        flags = "--port, clientPort" if getattr(error, "errno", 0) in _PORT_ERRORS else "--host, clientPortAddress"
        raise ListenError(f"cannot listen on {where}: {explain(error, flags)}") from error


def _give_memory_back() -> None:
    """Let glibc return every large buffer to the system as soon as it is freed.

    Left alone it learns from the first one that such sizes come again, and keeps them in its heap from then on, where
    one small object behind them holds tens of megabytes after a flood is over. Elsewhere there is nothing to set.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BUFFER)
    except (OSError, AttributeError):
        pass


def _tame_garbage_collection() -> None:
    """Look at each object once at most, however large the tree grows: a collection takes a millisecond, always.

    Garbage with cycles in it comes from exceptions and from Trio's own work, and dies young; what the server keeps (the
    tree, sessions, connections) is acyclic by design. So what a collection has seen alive is set aside (gc.freeze).
    """
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()
    gc.freeze()  # without a look before: of what imports leave next to nothing is garbage

    def set_aside(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            gc.freeze()

    gc.callbacks.append(set_aside)


def _outstanding_limit(config: Config) -> int:
    """Requests that may be under way here: with more than two voters, what the ensemble may have is shared out."""
    voters = len(config.members.voters) if config.members is not None else 1
    return config.global_outstanding_limit // (voters - 1) if voters > 2 else config.global_outstanding_limit


def _keeps_log(config: Config) -> bool:
    """An observer may do without a history on its disk; a voter's word is worth nothing without."""
    members, said = config.members, config.observer_sync_enabled
    is_observer = members is not None and members.servers[config.sid].is_observer
    return not is_observer or (config.sync_enabled if said is None else said)


def store_options_of(config: Config) -> StoreOptions:
    """The part of the configuration that the store needs."""
    return StoreOptions(
        data_dir=config.data_dir,
        data_log_dir=config.data_log_dir,
        extended_types=config.extended_types_enabled,
        digest_enabled=config.digest_enabled,
        with_zxid=config.serialize_last_processed_zxid,
        autocreate=config.datadir_autocreate,
        db_autocreate=config.db_autocreate,
        trust_empty=config.snapshot_trust_empty,
        compression=config.snapshot_compression,
        snap_count=config.snap_count,
        snap_size_limit=config.snap_size_limit_kb * 1024,
        log_size_limit=config.txn_log_size_limit_kb * 1024 if config.txn_log_size_limit_kb > 0 else -1,
        pre_alloc=config.pre_alloc_kb * 1024,
        force_sync=config.force_sync,
        max_length=config.jute_maxbuffer + config.jute_extrasize,
        snapshot_size_factor=config.snapshot_size_factor,
        keeps_log=_keeps_log(config),
    )


def settings_of(config: Config) -> Settings:
    """The part of the configuration that the service needs."""
    return Settings(
        server_id=config.sid,
        leader_serves=config.leader_serves,
        read_only_mode=config.read_only_mode,
        local_sessions=config.local_sessions,
        local_sessions_upgrading=config.local_sessions_upgrading,
        tick_time_ms=config.tick_time_ms,
        min_session_timeout_ms=config.min_session_timeout_ms,
        max_session_timeout_ms=config.max_session_timeout_ms,
        max_frame=config.jute_maxbuffer,
        four_letter_words=config.four_letter_whitelist,
        enforce_quota=config.enforce_quota,
        skip_acl=config.skip_acl,
        super_digest=config.super_digest,
        digest_algorithm=config.digest_alg,
        digest_auth_enabled=config.digest_auth_enabled,
        reconfig_enabled=config.reconfig_enabled,
        close_session_txn_enabled=config.close_session_txn_enabled,
        large_request_threshold=config.large_request_threshold,
        large_request_max_bytes=config.large_request_max_bytes,
        sessionless_timeout_ms=config.sessionless_timeout_ms,
        container_check_interval_ms=config.container_check_interval_ms,
        container_max_per_minute=config.container_max_per_minute,
        container_max_never_used_ms=config.container_max_never_used_ms,
        throttle_tokens=config.connection_throttle_tokens,
        throttle_fill_ms=config.connection_throttle_fill_ms,
        throttle_fill_count=config.connection_throttle_fill_count,
        enforce_auth_schemes=config.enforce_auth_schemes if config.enforce_auth_enabled else (),
    )
