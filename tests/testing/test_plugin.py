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


def announced() -> dict[str, str]:
    """The plugins that pytest finds once the project is installed: name → module."""
    plugins: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "pytest11"
    ]
    return plugins


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-p", "zkpy.testing.plugin"]], ids=["found", "named as well"])
def test_the_fixtures_work_in_a_suite_of_its_own(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(SUITE)
    # What an installation leaves for pytest to find.
    installed = tmp_path / "site" / "installed-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1\n")
    lines = [f"{name} = {module}\n" for name, module in announced().items()]
    (installed / "entry_points.txt").write_text("[pytest11]\n" + "".join(lines))
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        "test_theirs.py",
    ]
    environ = {"PYTHONPATH": f"{ROOT}:{tmp_path / 'site'}"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_goes_by_the_name_of_its_module() -> None:
    for name, module in announced().items():
        assert name == module
        assert importlib.import_module(module).__name__ == "zkpy.testing.plugin"


def test_a_session_that_asks_for_no_server_loads_none() -> None:
    text = "import sys, zkpy.testing.plugin; print({'trio', 'kazoo', 'zkpy.server'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stdout + done.stderr


def test_what_is_not_in_the_package_is_missed_by_name() -> None:
    import zkpy.testing

    assert zkpy.testing.Server.__name__ == "Server"
    with pytest.raises(AttributeError, match="has no attribute 'Servant'"):
        _ = zkpy.testing.Servant  # type: ignore[attr-defined]
