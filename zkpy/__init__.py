"""zkpy: a ZooKeeper server in Python on Trio that existing clients use unchanged.

A file imports only from lower floors, or from its own folder:

    1   proto              the words of the protocol
    2   tree, zab          the replicated state; the agreement of servers. Neither knows the other
    3   keeper             the service to clients, without I/O
    4   replica, storage   tree, agreement and service joined; blocking files
    5   server, admin      sockets, disk and tasks on Trio; HTTP
    6   cli, testing       for people at a terminal, and in their tests
        recipes            beside them all: for any ZooKeeper server
"""

from typing import Final

__version__: Final = "0.1.0"
