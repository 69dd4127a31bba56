"""The spans of requests, named and described as OpenTelemetry's stable conventions have it.

A span has the template of the route, but not the path, which the conventions require: it contains a user id. Health
probes have no span, and neither has a request that is rejected before the application sees it: metrics count those.
"""

import asyncio
import time
from contextvars import ContextVar

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from entrypoints.conventions import OTHER_METHOD, request_error, request_method
from entrypoints.http.server.admission import ADMIN_PATHS
from entrypoints.http.server.asgi import App, HeaderList, Receive, Scope, Send
from entrypoints.http.server.exchange import Exchange
from entrypoints.http.server.trace_context import TraceContext
from entrypoints.traces.recorder import Recorder

FLUSH_SECONDS = 3.0
"""How long the last spans may take at a stop, after the last request."""
MAX_TRACESTATE = 512
"""Characters that are passed on; a longer one is dropped."""
_UNTRACED = frozenset(path.decode() for path in ADMIN_PATHS)
_NO_CONTEXT = Context()


class RequestSpan:
    """The span of a request that is recorded. OpenTelemetry's own is made at the end, when all is known."""

    __slots__ = ("_zero_ns", "context", "ended", "ids", "parent")

    def __init__(self, ids: SpanContext, parent: Context) -> None:
        self.ids = ids
        self.parent = parent
        self.context = set_span_in_context(NonRecordingSpan(ids), _NO_CONTEXT)
        """That of child spans."""
        self.ended: float | None = None
        """In the time of `time.perf_counter`."""
        self._zero_ns = time.time_ns() - time.perf_counter_ns()

    def time_ns(self, moment: float) -> int:
        """Return the time of a moment of `time.perf_counter`. Those of one trace are consistent with each other."""
        return self._zero_ns + int(moment * 1e9)


class Traces:
    """A RequestObserver; `around` the application, it begins the spans that it ends."""

    def __init__(self, recorder: Recorder, callers: ContextVar[tuple[object, ...]]) -> None:
        """Set `callers` to the span of each request, for the observers of its statements."""
        self._recorder = recorder
        self._callers = callers
        self._spans: dict[Exchange, RequestSpan] = {}
        """Of the requests in progress."""

    def around(self, app: App) -> App:
        """Return an application that begins the span of each request, and exports the last spans when it stops."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                try:
                    await app(scope, receive, send)
                finally:
                    await asyncio.to_thread(self.close)
                return
            exchange = Exchange.of(scope)
            span = None if exchange.path in _UNTRACED else self._begin(exchange, scope["headers"])
            if span is None:
                await app(scope, receive, send)
                return
            self._spans[exchange] = span
            token = self._callers.set((span,))
            try:
                await app(scope, receive, send)
            finally:
                self._callers.reset(token)
                if exchange.stream and exchange.stream.has_begun:
                    # The time for which a client listens says nothing about the service.
                    exchange.route = scope.get("path_template")
                    self._end(exchange)

        return traced

    def finished(self, exchange: Exchange) -> None:
        """End the span of a request."""
        self._end(exchange)

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Export the spans that are left, for so long at most; those that take longer are lost."""
        self._recorder.close(seconds)

    def _begin(self, exchange: Exchange, headers: HeaderList) -> RequestSpan | None:
        """Begin the span of a request, and put its ids into the exchange, unless it is not to be recorded."""
        sent = exchange.trace
        parent = _parent(sent, headers) if sent else _NO_CONTEXT
        trace_id = int(sent.trace_id, 16) if sent else None
        method = {"http.request.method": request_method(exchange.method)}
        ids = self._recorder.chosen(trace_id, parent, SpanKind.SERVER, method)
        if ids is None:
            return None
        exchange.trace = TraceContext(format_trace_id(ids.trace_id), format_span_id(ids.span_id), ids.trace_flags)
        return RequestSpan(ids, parent)

    def _end(self, exchange: Exchange) -> None:
        if request := self._spans.pop(exchange, None):
            request.ended = time.perf_counter()
            method, began_ns = request_method(exchange.method), request.time_ns(exchange.started)
            name = "HTTP" if method == OTHER_METHOD else method
            if exchange.route:
                name += f" {exchange.route}"
            attributes = _attributes(exchange)
            span = self._recorder.span(name, request.parent, SpanKind.SERVER, attributes, began_ns, ids=request.ids)
            if exchange.status >= 500:
                span.set_status(StatusCode.ERROR)
            span.end(request.time_ns(request.ended))


def _parent(sent: TraceContext, headers: HeaderList) -> Context:
    """Return the context of the client's span, which says whether to record."""
    states = [value.decode("latin-1") for name, value in headers if name == b"tracestate"]
    context = SpanContext(
        int(sent.trace_id, 16),
        int(sent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(sent.flags),
        trace_state=TraceState.from_header(states) if len(",".join(states)) <= MAX_TRACESTATE else None,
    )
    return set_span_in_context(NonRecordingSpan(context), _NO_CONTEXT)


def _attributes(exchange: Exchange) -> dict[str, str | int | list[str]]:
    attributes: dict[str, str | int | list[str]] = {
        "http.request.method": request_method(exchange.method),
        "http.response.header.x-request-id": [exchange.request_id],
        "http.response.status_code": exchange.status,  # 499 where the client has disconnected, as in log and metrics
        "url.scheme": "http",
    }
    if exchange.route:
        attributes["http.route"] = exchange.route
    if error := request_error(exchange.status, exchange.problem_code):
        attributes["error.type"] = error
    return attributes
