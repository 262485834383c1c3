"""One event, one line, whatever its fields hold."""

import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from zkpy.server.logs import get_log, setup_logging

#: Values that would break a line, or end one value and begin another.
HOSTILE = [
    "",
    "two words",
    "a\nb",
    "a\r\nFORGED",
    'say "no"',
    "it's",
    "a=b",
    "\\",
    "\x1b[31m",
    "\u2028",
    "\x85",
    "\ud800",
]


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """logged() is what stands on stderr; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_time_level_name_event_and_fields(logged: Callable[[], str]) -> None:
    setup_logging()
    get_log("zkpy.test").warning("snapshot taken", file="/var/x", took_ms=12)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING zkpy\.test  snapshot taken file=/var/x took_ms=12\n",
        logged(),
    )


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_makes_a_second_line_or_a_second_field(logged: Callable[[], str], value: str) -> None:
    setup_logging()
    get_log("zkpy.test").info("closing", client=value, last=1)
    line = logged()
    assert line.endswith("Z INFO    zkpy.test  closing client=" + json.dumps(value) + " last=1\n")
    assert len(line.splitlines()) == 1
    assert line.removesuffix("\n").isprintable()


@pytest.mark.parametrize("value", HOSTILE)
def test_a_json_line_gives_every_value_back(logged: Callable[[], str], value: str) -> None:
    setup_logging(as_json=True)
    get_log("zkpy.test").error("closing", client=value, last=1)
    line = logged()
    assert len(line.splitlines()) == 1
    entry = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {"level": "ERROR", "name": "zkpy.test", "event": "closing", "client": value, "last": 1}


def test_what_json_has_no_form_for_is_text(logged: Callable[[], str]) -> None:
    setup_logging(as_json=True)
    get_log("zkpy.test").info("failed", error=OSError(28, "No space left on device"))
    assert json.loads(logged())["error"] == "[Errno 28] No space left on device"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_traceback_of_another_library_is_kept(logged: Callable[[], str], as_json: bool) -> None:
    setup_logging(as_json=as_json)
    try:
        raise RuntimeError("lost")
    except RuntimeError:
        logging.getLogger("other").exception("cannot go on")
    text = logged()
    assert "cannot go on" in text
    assert "RuntimeError: lost" in text
    assert (len(text.splitlines()) == 1) == as_json


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_below_the_level_is_not_written(logged: Callable[[], str], level: str, events: list[str]) -> None:
    setup_logging(level)
    log = get_log("zkpy.test")
    for method in (log.debug, log.info, log.warning, log.error):
        method(method.__name__)
    assert [line.split()[-1] for line in logged().splitlines()] == events


@pytest.mark.parametrize("level", ["loud", "", "1x"])
def test_a_level_that_does_not_exist_is_refused(logged: Callable[[], str], level: str) -> None:
    with pytest.raises(ValueError, match=r"Unknown level|Invalid"):
        setup_logging(level)
