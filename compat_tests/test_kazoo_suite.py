"""kazoo's own tests, which `kazoo_suite` runs: those that pass on Apache's ensemble pass on ours, and all of them but
NEED_OTHERS on a server that is alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from compat_tests import peers
from compat_tests.kazoo_suite import EXCLUDED, NEED_OTHERS, RUN_TIMEOUT_S, Run, Suite, read_outcomes, reported_name

#: Why kazoo itself may skip a test: it is about a way to wait that is not installed beside it.
SKIPPED = frozenset(("gevent not available.", "eventlet handler not available."))
#: Fewer passing tests than this, and it is the harness that is broken. With kazoo 2.11 309 pass on three members.
FLOOR = 300

# The first test that asks for the runs waits for them.
pytestmark = pytest.mark.timeout(RUN_TIMEOUT_S + 60)


@pytest.fixture(scope="module")
def runs(kazoo_suites: dict[str, Suite]) -> dict[str, Run]:
    """All runs, finished."""
    peers.require("apache", "kazoo")
    return {name: suite.finish() for name, suite in kazoo_suites.items()}


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
