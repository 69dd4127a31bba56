"""The spans of statements, named and described as OpenTelemetry's stable conventions have it, without parameters."""

import time
from collections.abc import Mapping

from opentelemetry.trace import SpanKind, StatusCode

from adapters.postgres.callers import CALLERS, CallerObserver
from adapters.postgres.statement import Statement
from entrypoints.conventions import driver_error
from entrypoints.traces.recorder import Recorder
from entrypoints.traces.requests import RequestSpan


class StatementTraces(CallerObserver):
    """A StatementObserver: adds a span for a statement to the trace of each request that waited for it.

    Requests share statements, and a span has one parent, so each request has a span of its own, with the same times and
    the number of calls. A span of its own trace, linked to all of them, would be missing in each request's trace.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def finished(self, statement: Statement, started: float, error: BaseException | None) -> None:
        """Add the spans of a statement."""
        callers = CALLERS.get()
        if not any(callers):
            return
        ended = time.perf_counter()
        attributes: dict[str, str | int] = {"db.system.name": "postgresql", "db.query.summary": statement.name}
        if len(callers) > 1:
            attributes["db.operation.batch.size"] = len(callers)
        if error:
            attributes |= _error_attributes(error)
        for caller in callers:
            # A task that a request has left behind runs in its context, too.
            if isinstance(caller, RequestSpan) and (caller.ended is None or started < caller.ended):
                began_ns = caller.time_ns(started)
                span = self._recorder.span(statement.name, caller.context, SpanKind.CLIENT, attributes, began_ns)
                if error:
                    span.set_status(StatusCode.ERROR)
                span.end(caller.time_ns(ended))


def _error_attributes(error: BaseException) -> Mapping[str, str]:
    """Return the class of the driver's error and its SQLSTATE, but not its message, which may repeat a row."""
    cause = driver_error(error)
    sqlstate = getattr(cause, "sqlstate", None)
    return {"error.type": type(cause).__name__} | ({"db.response.status_code": sqlstate} if sqlstate else {})
