"""Every test that README.md names is there, so that nobody looks for what was renamed."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_test_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    sources = [path for folder in ("tests", "compat_tests") for path in (ROOT / folder).rglob("*.py")]
    files = {path.name for path in sources}
    functions = {name for path in sources for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M)}
    named_files = set(re.findall(r"\b(test_\w+\.py)\b", text))
    named_functions = set(re.findall(r"\b(test_\w+)\b(?!\.py|\w)", text)) - {
        "test_my_service_survives_an_expired_session"
    }
    assert len(named_files) > 5
    assert len(named_functions) > 10
    assert named_files <= files
    assert named_functions <= functions
