"""Logging on standard error, one line per record, without secrets, titles and error messages of the database."""

import asyncio
import atexit
import logging
import os
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from entrypoints.console import console_encoder, has_colours
from entrypoints.log_writer import LogWriter, encode_json

STANDARD_ERROR = 2
MAX_KINDS = 1000
"""The most kinds of failures to count separately."""


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the time, level, logger and message of a record, and the fields of its `extra={"fields": {...}}`."""
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
    }
    fields |= getattr(record, "fields", {})
    if record.exc_info and record.exc_info[1]:
        fields["error"] = describe(record.exc_info[1], with_stack=True)
    return fields


class _WriterHandler(logging.Handler):
    """Passes records to a LogWriter."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self._writer.encode(fields_of(record)))
        except Exception:
            self.handleError(record)


def configure_logging(level: str, form: Literal["auto", "json", "console"]) -> LogWriter:
    """Send the records of this service from a level up, and the warnings of libraries, to standard error.

    Lines are for the console if standard error is a terminal, unless `form` says otherwise. Returns the writer, for
    lines that are not log records. What it holds is written at exit.
    """
    is_console = form == "console" or (form == "auto" and os.isatty(STANDARD_ERROR))
    encode = console_encoder(is_coloured=has_colours(STANDARD_ERROR)) if is_console else encode_json
    # Lines name no thread and no process, so these are not looked up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    writer = LogWriter(STANDARD_ERROR, encode=encode)
    logging.basicConfig(level=logging.WARNING, handlers=[_WriterHandler(writer)], force=True)
    logging.getLogger("hextasks").setLevel(level)
    atexit.register(writer.flush)
    return writer


class _Repetition(NamedTuple):
    logged_at: float
    suppressed: int
    code: str
    error: type[BaseException]


class FailureLog:
    """Logs why requests failed: one line per kind of failure and second, with the number suppressed since the last.

    When the failures of a kind have ended, a line `failures_suppressed` has the number since the last. That takes a
    running event loop.
    """

    def __init__(self, logger: logging.Logger, *, every: float = 1.0) -> None:
        """Log to `logger`, each kind at most every so many seconds."""
        self._logger = logger
        self._every = every
        self._kinds: dict[object, _Repetition] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        """That on which the next report is due."""

    def expected(self, code: str, error: BaseException, **fields: object) -> None:
        """Log a rejection or an outage that the service foresees: a warning without a stack, one kind per code."""
        if self._is_due(code, code, error, fields):
            fields["error"] = describe(error, with_stack=False)
            self._logger.warning(code, extra={"fields": fields})

    def unexpected(self, code: str, error: BaseException, **fields: object) -> None:
        """Log a fault of the service: an error with its stack, one kind per type and stack."""
        if self._is_due((type(error), *_stack(error)), code, error, fields):
            self._logger.error(code, exc_info=error, extra={"fields": fields})

    def _is_due(self, kind: object, code: str, error: BaseException, fields: dict[str, object]) -> bool:
        """Return whether to log a failure of a kind now; add the number suppressed to the fields of its line."""
        now = time.monotonic()
        before = self._kinds.pop(kind, None)
        if before and now < before.logged_at + self._every:
            self._kinds[kind] = before._replace(suppressed=before.suppressed + 1)
            self._report_later()
            return False
        if before and before.suppressed:
            fields["suppressed"] = before.suppressed
        self._kinds[kind] = _Repetition(now, 0, code, type(error))
        if len(self._kinds) > MAX_KINDS:
            self._report(self._kinds.pop(next(iter(self._kinds))))
        return True

    def _report_later(self) -> None:
        with suppress(RuntimeError):  # there is no loop
            loop = asyncio.get_running_loop()
            if loop is not self._loop:
                self._loop = loop
                loop.call_later(2 * self._every, self._report_ended)

    def _report_ended(self) -> None:
        """Report the kinds of which no failure has followed."""
        self._loop = None
        for kind, each in self._kinds.items():
            if each.suppressed and time.monotonic() < each.logged_at + 2 * self._every:
                self._report_later()
            else:
                self._report(each)
                self._kinds[kind] = each._replace(suppressed=0)

    def _report(self, kind: _Repetition) -> None:
        if kind.suppressed:
            fields = {"code": kind.code, "error": {"type": _name(kind.error)}, "suppressed": kind.suppressed}
            self._logger.warning("failures_suppressed", extra={"fields": fields})


def describe(error: BaseException, *, with_stack: bool) -> dict[str, Any]:
    """Return the error's type, stack and SQLSTATE without its message: a database's may repeat a whole row."""
    described: dict[str, Any] = {"type": _name(type(error))}
    if with_stack:
        described["stack"] = _stack(error)
    if sqlstate := getattr(error, "sqlstate", None):
        described["sqlstate"] = sqlstate
    if cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        described["cause"] = describe(cause, with_stack=with_stack)
    return described


def _name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _stack(error: BaseException) -> list[str]:
    return [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
