"""What is generated and checked in must be what the generator writes today."""

import subprocess
import sys
from pathlib import Path

from jute import generate, parse

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "zkpy" / "proto"


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "gen_records"), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_records_are_fresh() -> None:
    done = run("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_records_say_that_they_are_generated() -> None:
    assert "GENERATED" in (PROTO / "records.py").read_text(encoding="utf-8").split("\n", 1)[0]


def test_a_change_of_the_schema_would_be_noticed() -> None:
    schema = (PROTO / "records.jute").read_text(encoding="utf-8")
    current = (PROTO / "records.py").read_text(encoding="utf-8")
    docstring = current.split('"""')[1]
    assert generate(parse(schema), docstring) == current
    assert generate(parse(schema.replace("int aversion;", "long aversion;", 1)), docstring) != current
