"""What four-letter words tell of the process and the machine: facts the core cannot find out for itself."""

from collections.abc import Callable

import attrs


@attrs.frozen
class Host:
    """Filled by whoever runs the server.

    `sizes`: bytes in the snapshot and in the log directory; `descriptors`: how many are open now and how many may be;
    `memory`: free, most and present total in MB.
    """

    version: str = "3.9.5-zkpy, built on unknown"
    environment: tuple[tuple[str, str], ...] = ()
    client_port: int = -1
    data_dir: str = ""
    data_log_dir: str = ""
    max_client_cnxns: int = 60
    listen_backlog: int = -1
    #: What `conf` says of a member: its lines from initLimit on, and last who the members are.
    member: str = ""
    membership: str = ""
    sizes: Callable[[], tuple[int, int]] = lambda: (0, 0)
    descriptors: Callable[[], tuple[int, int]] = lambda: (0, 0)
    memory: Callable[[], tuple[int, int, int]] = lambda: (0, 0, 0)

    @classmethod
    def unknown(cls) -> "Host":
        """A host nothing is known of."""
        return cls()
