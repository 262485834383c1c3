"""The README's session, run as it stands there."""

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
