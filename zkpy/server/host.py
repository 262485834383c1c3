"""Facts about this process and machine, for four-letter words: version, environment, sizes, descriptors, memory."""

import getpass
import os
import platform
import resource
import socket
from typing import Final

from zkpy import __version__
from zkpy.keeper.host import Host
from zkpy.server.config import Config
from zkpy.server.membership import Membership
from zkpy.server.sockets import Address
from zkpy.storage import Store

#: The ZooKeeper release whose behaviour clients may expect; they parse it out of the version text.
SPEAKS: Final = "3.9.5"
BUILT: Final = "2026-11-24 00:00 UTC"
#: What Apache prints for a property that is not there: there is no JVM to ask.
_NONE: Final = "<NA>"


def describe_host(config: Config, store: Store, port: int) -> Host:
    """The host as it is now, serving on `port`."""
    return Host(
        version=f"{SPEAKS}-zkpy-{__version__}, built on {BUILT}",
        environment=_environment(),
        client_port=port,
        data_dir=str(store.snap_dir),
        data_log_dir=str(store.log_dir),
        max_client_cnxns=config.max_client_cnxns,
        listen_backlog=config.listen_backlog,
        member=_member(config, config.members) if config.members is not None else "",
        membership=f"membership: \n{config.members.text}" if config.members is not None else "",
        sizes=store.sizes,
        descriptors=_descriptors,
        memory=_memory,
    )


def _member(config: Config, members: Membership) -> str:
    """The lines of conf that only members have, but for who the others are."""
    me = members.servers[config.sid]

    def ports(addresses: list[Address]) -> str:
        return "|".join(map(str, dict.fromkeys(port for _, port in addresses)))

    return (
        f"initLimit={config.init_limit}\n"
        f"syncLimit={config.sync_limit}\n"
        "electionAlg=3\n"
        f"electionPort={ports(members.election_addresses[config.sid])}\n"
        f"quorumPort={ports(members.quorum_addresses[config.sid])}\n"
        f"peerType={int(me.is_observer)}\n"
    )


def _environment() -> tuple[tuple[str, str], ...]:
    """The keys of envi in Apache's order; java.* have no value here."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    try:
        directory = os.getcwd()
    except OSError:  # it has been removed
        directory = _NONE
    return (
        ("host.name", socket.gethostname()),
        *((f"java.{key}", _NONE) for key in ("version", "vendor", "home", "class.path", "library.path")),
        ("java.io.tmpdir", os.environ.get("TMPDIR", "/tmp")),
        ("java.compiler", _NONE),
        ("os.name", platform.system()),
        ("os.arch", {"x86_64": "amd64"}.get(platform.machine(), platform.machine())),
        ("os.version", platform.release()),
        ("user.name", user),
        ("user.home", os.path.expanduser("~")),
        ("user.dir", directory),
    )


def _descriptors() -> tuple[int, int]:
    """How many file descriptors are open, and how many may be."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return len(os.listdir("/proc/self/fd")), most
    except OSError:
        return 0, most


def _memory() -> tuple[int, int, int]:
    """Free, most, and present total in MB: of the machine, the machine, and this process."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page >> 20
    free = os.sysconf("SC_AVPHYS_PAGES") * page >> 20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return free, total, used
