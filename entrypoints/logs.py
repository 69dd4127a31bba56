"""Logging: one JSON object a line on standard error, with nothing in it that a stranger should not read."""

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec


class JsonFormatter(logging.Formatter):
    """Writes the time, level, logger and message of a record, and the fields of its `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line["error"] = _describe(record.exc_info[1])
        return msgspec.json.encode(line, enc_hook=str).decode()


def _describe(error: BaseException) -> dict[str, Any]:
    """Say what failed and where, but not the error's own words: those of a database may repeat a whole row."""
    described: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "stack": [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ],
    }
    if sqlstate := getattr(error, "sqlstate", None):
        described["sqlstate"] = sqlstate
    if cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        described["cause"] = _describe(cause)
    return described


def configure_logging(level: str) -> None:
    """Send what this service has to say, from a level up, to standard error as JSON; libraries only when they warn."""
    # No line says which thread or which place in the code it came from, and finding out takes as long as writing it.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("hextasks").setLevel(level)
