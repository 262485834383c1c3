"""The README's pages on leaders, locks, configuration and tests, run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.processes import ROOT
from zkpy.testing import Server

pytestmark = pytest.mark.slow

HOSTS = "127.0.0.1:2181"


def section(title: str) -> str:
    """The README's section of this title."""
    return (ROOT / "README.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


PAGES = ["One leader: payments", "A lock that protects: the last item", "Configuration that all see at once"]


@pytest.mark.parametrize("title", PAGES)
def test_the_page_prints_what_it_says(title: str, tmp_path: Path) -> None:
    [(code, printed)] = re.findall(r"```python\n(.+?)```\n\nprints\n\n```text\n(.+?)```", section(title), re.DOTALL)
    assert HOSTS in code
    with Server() as server:
        command = [sys.executable, "-W", "error", "-c", code.replace(HOSTS, server.hosts)]
        environ = {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.stdout == printed, done.stderr


def test_the_test_in_the_readme_passes(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.+?)```", section("In your tests"), re.DOTALL)
    (tmp_path / "test_theirs.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "zkpy.testing.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
