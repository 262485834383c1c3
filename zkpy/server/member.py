"""A member of an ensemble, put together from its configuration: its Peer, its election port and its links."""

import random
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from zkpy.server.config import Config
from zkpy.server.driver import Driver, wall_ms
from zkpy.server.election_links import ElectionLinks, ElectionOptions
from zkpy.server.errors import ElectionPortError
from zkpy.server.logs import get_log
from zkpy.server.membership import Membership
from zkpy.server.peers import Peers
from zkpy.server.quorum_links import QuorumLinks, QuorumOptions
from zkpy.server.sockets import Address, bind, explain
from zkpy.storage import Store
from zkpy.tree.datatree import DataTree
from zkpy.zab.peer import Peer
from zkpy.zab.settings import Settings

log = get_log("zkpy.server")

#: Between two tries to bind the election port.
BIND_PAUSE_S: Final = 1.0


def make_peer(config: Config, members: Membership, store: Store, now_ms: int) -> Peer:
    """This server as a voter or observer, with the history that its directory holds."""
    epochs = store.open_epochs()
    return Peer.member(
        settings_of(config),
        members.ensemble,
        (epochs.accepted, epochs.current),
        store.tree.last_zxid,
        store.tail(config.commit_log_count),
        now_ms,
    )


def settings_of(config: Config) -> Settings:
    """The part of the configuration that the protocol needs."""
    return Settings(
        config.sid,
        tick_ms=config.tick_time_ms,
        init_limit=config.init_limit,
        sync_limit=config.sync_limit,
        connect_limit=config.connect_limit,
        min_notification_ms=config.min_notification_ms,
        max_notification_ms=config.max_notification_ms,
        observer_rest_ms=random.randrange(config.observer_rest_ms + 1),
        commit_log_count=config.commit_log_count,
        force_snap=config.force_snap,
        max_epoch_wait_ms=config.max_epoch_wait_ms,
    )


def configuration_of(members: Membership) -> Callable[[DataTree], None]:
    """What puts this ensemble's configuration into a tree."""
    text, version = members.text.encode(), members.version

    def put(tree: DataTree) -> None:
        tree.set_configuration(text, version, wall_ms())

    return put


async def listen_for_votes(config: Config, members: Membership) -> list[socket.socket]:
    """The sockets of the election port. Raises ElectionPortError."""
    where = _here(config, members.election_addresses[config.sid])
    tries = 0
    while True:
        listeners: list[socket.socket] = []
        try:
            for host, port in where:
                listeners.append(bind(host, port))
            return listeners
        except (OSError, UnicodeError) as error:
            for listener in listeners:
                listener.close()
            tries += 1
            why = f"cannot listen on {host or '*'}:{port} for elections: {explain(error, f'server.{config.sid}')}"
            if 0 < config.election_bind_tries <= tries:
                raise ElectionPortError(why) from error
            log.warning(why, next_try_s=BIND_PAUSE_S)
        await trio.sleep(BIND_PAUSE_S)


def link_up(
    config: Config,
    members: Membership,
    nursery: trio.Nursery,
    listeners: list[socket.socket],
    driver: Driver,
    store: Store,
) -> Peers:
    """The links to the other members, whose tasks run in `nursery`; `listeners` are those of the election port."""
    replica = driver.replica
    tick_s = config.tick_time_ms / 1000
    greeting_ms = config.election_greeting_ms

    def heard(sid: int, message: bytes) -> None:
        driver.hear(partial(replica.notified, sid, message))

    def lost(sid: int) -> None:
        driver.hear(partial(replica.unreachable, sid))

    election = ElectionLinks(
        nursery,
        listeners,
        config.sid,
        members.election_addresses[config.sid],
        members.election_addresses,
        heard,
        lost,
        ElectionOptions(
            connect_timeout_s=config.election_connect_ms / 1000,
            greeting_timeout_s=greeting_ms / 1000 if greeting_ms > 0 else tick_s * config.sync_limit,
            keepalive=config.quorum_keepalive,
        ),
    )
    quorum = QuorumLinks(
        nursery,
        replica.peer,
        driver.hear,
        driver.hub,
        _here(config, members.quorum_addresses[config.sid]),
        members.quorum_addresses,
        store.new_tree,
        store.reader,
        QuorumOptions(
            connect_timeout_s=tick_s * (config.connect_limit or config.init_limit),
            retry_pause_s=config.leader_retry_ms / 1000,
            introduction_timeout_s=tick_s * config.init_limit,
            keepalive=config.quorum_keepalive,
            packet_limit=config.jute_maxbuffer + config.jute_extrasize,
        ),
    )
    return Peers(election, quorum, lambda: replica.keeper.tree)


def _here(config: Config, addresses: list[Address]) -> list[Address]:
    """Where to listen for these addresses of this server."""
    if not config.quorum_listen_on_all:
        return addresses
    return [("", port) for port in dict.fromkeys(port for _, port in addresses)]
