"""A pytest plugin that lets kazoo's own tests run against any server: `-p compat_tests.kazoo_plugin`.

kazoo's harness starts Apache's server from an unpacked release. With this plugin it starts what SERVER_COMMAND says:

    ManagedZooKeeper.run ─ zoo.cfg as kazoo writes it, less TLS and SASL ─→ SERVER_COMMAND zoo.cfg
    ZookeeperCluster.start ─ all of them, until each serves clients
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

START_TIMEOUT_S = 60.0

CONFIGURATION = """tickTime=2000
dataDir={data}
clientPort={port}
maxClientCnxns=0
admin.enableServer=false
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
{entries}
"""
#: The same of a member of an ensemble, with kazoo's limits.
MEMBER = """initLimit=4
syncLimit=2
{servers}
peerType={own.peer_type}
"""
SERVER = "server.{one.server_id}=localhost:{one.leader_port}:{one.election_port}:{one.peer_type}"


def run(self: Any) -> None:
    """Start the server on its working directory, which outlives `stop` and not `destroy`."""
    if self.running:
        return
    working = Path(self.working_path)
    data = working / "data"
    data.mkdir(parents=True, exist_ok=True)
    config = working / "zoo.cfg"
    entries = "\n".join(self.configuration_entries)
    text = CONFIGURATION.format(data=data, port=self.client_port, entries=entries)
    own = self.server_info
    if self.peers:
        (data / "myid").write_text(str(own.server_id))
        text += MEMBER.format(servers="\n".join(SERVER.format(one=one) for one in (own, *self.peers)), own=own)
    config.write_text(text)
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
    """Start all servers and wait until each serves (kazoo's own sleeps for two seconds). If one does not, no test can
    tell anything, and the run ends."""
    for server in reversed(list(self)):
        server.run()
    deadline = time.monotonic() + START_TIMEOUT_S
    for server in self:
        while not _serves(server.host, server.client_port):
            if server.process.poll() is not None or time.monotonic() > deadline:
                pytest.exit("the server did not start:\n" + "".join(server.get_logs()), returncode=3)
            time.sleep(0.02)


def _serves(host: str, port: int) -> bool:
    """Does it say what its part is?"""
    answer = b""
    try:
        with socket.create_connection((host, port), timeout=1) as sock:
            sock.sendall(b"srvr")
            while data := sock.recv(4096):
                answer += data
    except OSError:
        return False
    return b"\nMode: " in answer


ManagedZooKeeper.run = run
ZookeeperCluster.start = start
# Keys and certificates are for the TLS tests, which do not run here.
ZookeeperCluster.perform_ssl_certs_generation = lambda self: None
