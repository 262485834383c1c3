"""The README's sessions, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.processes import ROOT, ServerProcess

pytestmark = pytest.mark.slow


def test_the_session_prints_what_the_readme_says(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    session, printed = re.findall(r"```python\n(.+?)```\n\nprints\n\n```text\n(.+?)```", text, re.DOTALL)[0]
    with ServerProcess(tmp_path / "data") as server:
        assert "127.0.0.1:2181" in session
        code = session.replace("127.0.0.1:2181", f"127.0.0.1:{server.port}")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == printed, done.stderr


def test_the_commands_print_what_the_readme_says(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    (session,) = re.findall(r"## Commands\n.+?```console\n(.+?)```", text, re.DOTALL)
    lines, printed = [], []
    with ServerProcess(tmp_path / "data") as server:
        # The installed command, at another port than the one it takes by itself.
        command = tmp_path / "zkpy"
        command.write_text(
            f'#!/bin/sh\nverb=$1\nshift\nexec {sys.executable} -m zkpy "$verb" --hosts 127.0.0.1:{server.port} "$@"\n'
        )
        command.chmod(0o755)
        environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        for line in session.splitlines():
            lines.append(line)
            if line.startswith("$ "):
                printed.append(line)
                done = subprocess.run(
                    line[2:], shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ,
                    timeout=60,
                )  # fmt: skip
                printed += done.stdout.replace(f":{server.port}", ":2181").splitlines()
    assert [without_luck(line) for line in printed] == [without_luck(line) for line in lines]


def without_luck(line: str) -> str:
    """A line without tokens, ages, hosts and processes."""
    return re.sub(r"(token|holds) +\d+.*", r"\1", line)
