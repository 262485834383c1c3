"""Runs of kazoo's own tests by kazoo's harness: against three members of Apache's, three of zkpy's, and zkpy alone.

Each is a process group of its own, which a session of pytest starts with the first of its compat tests and waits for at
the end (`conftest`): most of their time is kazoo's own sleeps. `kazoo_plugin` starts the servers. The tests that need
what zkpy does not have yet are in EXCLUDED. Apache's server alone would tell nothing that its ensemble does not.
Next: test_kazoo_suite, which judges them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from compat_tests import peers
from tests.ports import PORTS, is_free

_TLS = "TLS: zkpy has no secureClientPort yet"
_SASL = "SASL: zkpy has no SASL authentication yet"
_RECONFIG = "reconfiguration: adds and removes members of an ensemble"
#: Tests left out of both runs, each by its own name, and why.
EXCLUDED = {
    "kazoo/tests/test_client.py::TestSSLClient::test_create": _TLS,
    "kazoo/tests/test_sasl.py::TestLegacySASLDigestAuthentication::test_connect_sasl_auth": _SASL,
    "kazoo/tests/test_sasl.py::TestLegacySASLDigestAuthentication::test_invalid_sasl_auth": _SASL,
    "kazoo/tests/test_sasl.py::TestSASLDigestAuthentication::test_connect_sasl_auth": _SASL,
    "kazoo/tests/test_sasl.py::TestSASLDigestAuthentication::test_invalid_sasl_auth": _SASL,
    "kazoo/tests/test_sasl.py::TestSASLGSSAPIAuthentication::test_connect_gssapi_auth": _SASL,
    "kazoo/tests/test_sasl.py::TestSASLGSSAPIAuthentication::test_invalid_gssapi_auth": _SASL,
    "kazoo/tests/test_client.py::TestReconfig::test_add_remove_observer": _RECONFIG,
    "kazoo/tests/test_client.py::TestReconfig::test_bad_input": _RECONFIG,
    "kazoo/tests/test_client.py::TestReconfig::test_no_super_auth": _RECONFIG,
}
#: What `kazoo_plugin` reads: it cannot be imported here, where kazoo may be another one.
COMMAND = "SERVER_COMMAND"
PROPERTIES = "{properties}"

#: Tests that stop a member and need others: left out where there are none.
NEED_OTHERS = (
    "kazoo/tests/test_client.py::TestClient::test_update_host_list",
    "kazoo/tests/test_connection.py::TestReadOnlyMode::test_read_only",
)

#: What runs: the kind of server, and how many members.
RUNS = {"apache": ("apache", 3), "zkpy": ("zkpy", 3), "zkpy alone": ("zkpy", 1)}

TEST_TIMEOUT_S = 120
RUN_TIMEOUT_S = 600.0
#: kazoo's harness takes ten for each member.
PORTS_PER_RUN = 10 * max(members for _, members in RUNS.values())


@dataclass
class Run:
    """What became of each test on one server: "passed", "failed" or "skipped"."""

    outcomes: dict[str, str]
    skip_reasons: set[str]
    seconds: float
    output: Path

    def named(self, outcome: str) -> set[str]:
        """The tests with this outcome."""
        return {test for test, became in self.outcomes.items() if became == outcome}

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.named(outcome))} {outcome}" for outcome in ("passed", "failed", "skipped"))
        return f"{counts} in {self.seconds:.0f} s"


def reported_name(test: str) -> str:
    """The name in a JUnit report of a test that pytest knows as `test`."""
    module, *names = test.split("::")
    return "::".join([".".join([module.removesuffix(".py").replace("/", "."), *names[:-1]]), names[-1]])


def read_skip_reasons(junit: Path) -> set[str]:
    """Why tests were skipped, according to a JUnit report."""
    return {skipped.get("message", "") for skipped in ET.parse(junit).getroot().iter("skipped")}


def read_outcomes(junit: Path) -> dict[str, str]:
    """The outcome of each test in a JUnit report; a test that also failed in its teardown has failed."""
    outcomes: dict[str, str] = {}
    for case in ET.parse(junit).getroot().iter("testcase"):
        test = f"{case.get('classname')}::{case.get('name')}"
        children = {child.tag for child in case}
        outcome = "failed" if children & {"failure", "error"} else "skipped" if "skipped" in children else "passed"
        if outcomes.get(test) != "failed":
            outcomes[test] = outcome
    return outcomes


class Suite:
    """kazoo's tests in a subprocess, against so many servers of a kind."""

    def __init__(self, kind: str, members: int, directory: Path, offset: int) -> None:
        """`offset`: see `pick_offsets`."""
        kazoo = peers.find_peer("kazoo")
        assert kazoo is not None
        directory.mkdir()
        if kind == "apache":
            command = peers.apache_server_command(directory, [PROPERTIES])
        else:
            command = peers.zkpy_server_command()
        self.junit = directory / "junit.xml"
        self.output = directory / "output.txt"
        self.began = time.monotonic()
        left_out = [*EXCLUDED, *(NEED_OTHERS if members == 1 else ())]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    str(kazoo / "venv" / "bin" / "python"), "-m", "pytest", "-p", "compat_tests.kazoo_plugin",
                    # found beside this checkout once that is installed, and of no use there
                    "-p", "no:zkpy.testing.plugin",
                    # kazoo's settings print every line of its log
                    "-o", "addopts=", "-o", "log_cli=false", "-p", "no:cacheprovider", "-q", "-rfE", "--tb=short",
                    f"--timeout={TEST_TIMEOUT_S}", f"--junitxml={self.junit}",
                    *(word for test in left_out for word in ("--deselect", test)),
                    "kazoo/tests",
                ],
                cwd=kazoo, env=environment(command, members, directory, offset), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def finish(self) -> Run:
        """Wait for it, at most until RUN_TIMEOUT_S after its start."""
        self.process.wait(max(1.0, self.began + RUN_TIMEOUT_S - time.monotonic()))
        if not self.junit.exists():
            raise RuntimeError(f"kazoo's tests did not run:\n{self.output.read_text()[-3000:]}")
        seconds = sum(float(suite.get("time", 0)) for suite in ET.parse(self.junit).getroot().iter("testsuite"))
        return Run(read_outcomes(self.junit), read_skip_reasons(self.junit), seconds, self.output)

    def kill(self) -> None:
        """End it, and a server it may have left behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def pick_offsets(runs: int) -> list[int]:
    """Where kazoo's harness counts its ports from, in each of so many runs: all free, and where no other test looks for
    ports. They are picked together: a run that has just begun listens nowhere yet."""
    while True:
        first = random.randrange(10_000, PORTS.start - runs * PORTS_PER_RUN, 10)
        if all(is_free(port) for port in range(first, first + runs * PORTS_PER_RUN)):
            return [first + run * PORTS_PER_RUN for run in range(runs)]


def environment(command: list[str], members: int, directory: Path, offset: int) -> dict[str, str]:
    """What kazoo's harness and the plugin want to know. With CI set the test of the server's version runs too."""
    return {
        **os.environ,
        COMMAND: json.dumps(command),
        "PYTHONPATH": str(peers.ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(directory),
        "CI": "1",
        "ZOOKEEPER_VERSION": "3.9.5",
        "ZOOKEEPER_CLUSTER_SIZE": str(members),
        "ZOOKEEPER_PORT_OFFSET": str(offset),
    }
