"""Structured log lines: one event, one line.

    2026-11-24T14:05:02.123Z INFO    zkpy.server  listening address=127.0.0.1:2181 data_dir=/var/lib/zookeeper

or, with --log-json, one JSON object per line. A value with blanks, quotes or control characters is quoted and escaped,
so that no client can write a log line of its own.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final

_PLAIN: Final = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class EventLog:
    """What a module logs with: `log.info("purged", file=path)`. The event is constant text, the fields vary."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """For whoever looks for a fault in the server itself."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Something an operator may want to know."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something is not as it should be; the server goes on."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something has failed."""
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields})


def get_log(name: str) -> EventLog:
    """The log of the module or part called `name`."""
    return EventLog(name)


def setup_logging(level: str = "INFO", *, as_json: bool = False) -> None:
    """Send log lines of `level` and above to stderr. Raises ValueError for a level that does not exist."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class TextLines(logging.Formatter):
    """Time, level, name, event, then key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the fields hold; a traceback, if there is one, follows in its own lines."""
        parts = [_when(record), f"{record.levelname:<7}", f"{record.name} ", record.getMessage()]
        parts += (f"{key}={_quoted(value)}" for key, value in getattr(record, "fields", {}).items())
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, name, event, and the fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; values that JSON has no form for as text."""
        entry: dict[str, object] = {
            "time": _when(record),
            "level": record.levelname,
            "name": record.name,
            "event": record.getMessage(),
        }
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(record.msecs):03d}Z"


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
