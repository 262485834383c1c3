"""pytest's fixtures, as somebody else's test suite uses them."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.system.processes import ROOT

SUITE = """
def test_client(zk, zkpy_server):
    assert zk.create("/a", b"1") == "/a"
    zkpy_server.expire(zk)

def test_each_has_a_server_of_its_own(zk):
    assert zk.exists("/a") is None

def test_a_server_left_paused_is_no_trouble(zk, zkpy_server):
    zkpy_server.pause()

def test_ensemble(zkpy_ensemble):
    assert len(zkpy_ensemble.members) == 3
    zkpy_ensemble.kill_leader()
    zkpy_ensemble.wait_ready()
"""


@pytest.mark.slow
def test_the_fixtures_work_in_a_suite_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(SUITE)
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-p",
        "zkpy.testing.plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_is_announced_under_the_name_of_its_module() -> None:
    announced = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    for name, module in announced.items():
        assert name == module
        assert importlib.import_module(module).__name__ == "zkpy.testing.plugin"
