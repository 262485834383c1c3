"""kazoo's own tests, run by kazoo's harness against three members of Apache's, three of zkpy's, and zkpy alone.

What passes on Apache's ensemble passes on ours; and on the server that is alone all but NEED_OTHERS.
The runs go side by side, each in a process group of its own; most of their time is kazoo's own sleeps. `kazoo_plugin`
starts the servers. The tests that need what zkpy does not have yet are in EXCLUDED. Apache's server alone would tell
nothing that its ensemble does not.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from compat_tests import peers

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
#: Why kazoo itself may skip a test: it is about a way to wait that is not installed beside it.
SKIPPED = frozenset(("gevent not available.", "eventlet handler not available."))
#: What `kazoo_plugin` reads: it cannot be imported here, where kazoo may be another one.
COMMAND = "SERVER_COMMAND"
PROPERTIES = "{properties}"

#: Tests that stop a member and need others: left out where there are none.
NEED_OTHERS = (
    "kazoo/tests/test_client.py::TestClient::test_update_host_list",
    "kazoo/tests/test_connection.py::TestReadOnlyMode::test_read_only",
)

#: Fewer passing tests than this, and it is the harness that is broken. With kazoo 2.11 309 pass on three members.
FLOOR = 300

#: What runs: the kind of server, and how many members.
RUNS = {"apache": ("apache", 3), "zkpy": ("zkpy", 3), "zkpy alone": ("zkpy", 1)}

TEST_TIMEOUT_S = 120
RUN_TIMEOUT_S = 600.0

# The first test that asks for the runs waits for them.
pytestmark = pytest.mark.timeout(RUN_TIMEOUT_S + 60)


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

    def __init__(self, kind: str, members: int, directory: Path) -> None:
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
                cwd=kazoo, env=environment(command, members, directory), start_new_session=True,
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


def pick_offset(members: int) -> int:
    """Where kazoo's harness counts its ports from, ten for each member: all free, and below those of outgoing
    connections."""
    while True:
        offset = random.randrange(12_000, 32_000, 10)
        if all(is_free(offset + 10 * member + port) for member in range(members) for port in range(3)):
            return offset


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def environment(command: list[str], members: int, directory: Path) -> dict[str, str]:
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
        "ZOOKEEPER_PORT_OFFSET": str(pick_offset(members)),
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """All runs, finished."""
    peers.require("apache", "kazoo")
    directory = tmp_path_factory.mktemp("kazoo")
    suites: dict[str, Suite] = {}
    try:
        for name, (kind, members) in RUNS.items():
            suites[name] = Suite(kind, members, directory / name.replace(" ", "-"))
        yield {name: suite.finish() for name, suite in suites.items()}
    finally:
        for suite in suites.values():
            suite.kill()


def collected(*arguments: str) -> list[str]:
    """The tests that kazoo's pytest finds, by name."""
    kazoo = peers.find_peer("kazoo")
    assert kazoo is not None
    done = subprocess.run(
        [
            str(kazoo / "venv" / "bin" / "python"), "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider",
            "--collect-only", "-q", *arguments,
        ],
        cwd=kazoo, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_what_is_excluded_are_those_tests_and_no_others() -> None:
    peers.require("kazoo")
    left_out = [*EXCLUDED, *NEED_OTHERS]
    every = collected("kazoo/tests")
    left = collected("kazoo/tests", *(word for test in left_out for word in ("--deselect", test)))
    assert sorted(set(every) - set(left)) == sorted(left_out)


def test_a_failed_teardown_is_a_failed_test(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase classname="a" name="t"/><testcase classname="a" name="t"><error/></testcase>'
        '<testcase classname="a" name="u"/><testcase classname="b" name="u"><skipped/></testcase>'
        '<testcase classname="b" name="v"><failure/></testcase></testsuite></testsuites>'
    )
    assert read_outcomes(junit) == {"a::t": "failed", "a::u": "passed", "b::u": "skipped", "b::v": "failed"}


@pytest.mark.slow
def test_apache_passes_kazoos_tests(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    apache = runs["apache"]
    with capsys.disabled():
        print(f"\nkazoo's tests on Apache's ensemble: {apache}; failed: {sorted(apache.named('failed'))}")
    assert len(apache.named("passed")) >= FLOOR, apache.output.read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zkpy", "zkpy alone"])
def test_zkpy_passes_every_test_that_apache_passes(
    runs: dict[str, Run], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    apache, zkpy = runs["apache"], runs[name]
    with capsys.disabled():
        print(f"\nkazoo's tests on {name}: {zkpy}; failed: {sorted(zkpy.named('failed'))}")
    assert len(zkpy.named("passed")) >= FLOOR, zkpy.output.read_text()[-3000:]
    fewer = apache.named("passed") - zkpy.named("passed")
    if name == "zkpy alone":
        fewer -= set(map(reported_name, NEED_OTHERS))
    assert not fewer, f"{sorted(fewer)}\n{zkpy.output.read_text()[-6000:]}"
    assert zkpy.named("failed") <= apache.named("failed")
    assert zkpy.named("skipped") == apache.named("skipped")
    assert apache.skip_reasons | zkpy.skip_reasons <= SKIPPED
