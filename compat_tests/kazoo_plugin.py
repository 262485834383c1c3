"""A pytest plugin that lets kazoo's own tests run against any server: `-p compat_tests.kazoo_plugin`.

kazoo's harness starts Apache's server from an unpacked release. With this plugin it starts what SERVER_COMMAND says:

    ManagedZooKeeper.run ─ zoo.cfg as kazoo writes it, less TLS and SASL ─→ SERVER_COMMAND zoo.cfg
    stop, reset, destroy ─ kazoo's own: SIGTERM and wait; what stands in working_path stays or goes as there

The -D options of the harness (the digest of its superuser above all) go into the command in place of the argument
"{properties}" and into SERVER_JVMFLAGS, where zkpy looks for them. Runs in kazoo's interpreter, with no import from
this repository.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from kazoo.testing.common import ManagedZooKeeper, ZookeeperCluster

#: Environment variable: the server's command line as a JSON list, without its zoo.cfg.
COMMAND = "SERVER_COMMAND"
PROPERTIES = "{properties}"

START_TIMEOUT_S = 30.0

CONFIGURATION = """tickTime=2000
dataDir={data}
clientPort={port}
maxClientCnxns=0
admin.enableServer=false
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
{entries}
"""


def run(self: Any) -> None:
    """Start the server on its working directory, which outlives `stop` and not `destroy`."""
    if self.running:
        return
    working = Path(self.working_path)
    data = working / "data"
    data.mkdir(parents=True, exist_ok=True)
    config = working / "zoo.cfg"
    entries = "\n".join(self.configuration_entries)
    config.write_text(CONFIGURATION.format(data=data, port=self.client_port, entries=entries))
    properties = ["-Dreadonlymode.enabled=true", *self.java_system_properties]
    command: list[str] = []
    for argument in json.loads(os.environ[COMMAND]):
        command += properties if argument == PROPERTIES else [argument]
    environment = {**os.environ, "SERVER_JVMFLAGS": " ".join(properties)}
    with (working / "zookeeper.log").open("ab") as log:  # where kazoo's get_logs looks
        self.process = subprocess.Popen(
            [*command, str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
    self._running = True


def start(self: Any) -> None:
    """Start all servers and wait until each listens (kazoo's own sleeps for two seconds). If one does not, no test can
    tell anything, and the run ends."""
    for server in reversed(list(self)):
        server.run()
    deadline = time.monotonic() + START_TIMEOUT_S
    for server in self:
        while not _listens(server.host, server.client_port):
            if server.process.poll() is not None or time.monotonic() > deadline:
                pytest.exit("the server did not start:\n" + "".join(server.get_logs()), returncode=3)
            time.sleep(0.02)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


ManagedZooKeeper.run = run
ZookeeperCluster.start = start
# Keys and certificates are for the TLS tests, which do not run here.
ZookeeperCluster.perform_ssl_certs_generation = lambda self: None
