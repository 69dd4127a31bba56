"""The spans of requests, named and described as OpenTelemetry's stable conventions have it.

A span has the template of the route, but not the path, which the conventions require: it contains a user id. Health
probes have no span, and neither has a request that is rejected before the application sees it: metrics count those.
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from entrypoints.http.server.admission import ADMIN_PATHS
from entrypoints.http.server.asgi import App, HeaderList, Receive, Scope, Send
from entrypoints.http.server.exchange import Exchange
from entrypoints.http.server.trace_context import TraceContext
from entrypoints.metrics.observers import METHODS, OTHER_METHOD

FLUSH_SECONDS = 3.0
"""How long the last spans may take at a stop, after the last request."""
MAX_TRACESTATE = 512
"""Characters that are passed on; a longer one is dropped."""
_UNTRACED = frozenset(path.decode() for path in ADMIN_PATHS)
_NO_CONTEXT = Context()


class RequestSpan:
    """The span of a request that is recorded."""

    __slots__ = ("_zero_ns", "context", "ended", "span")

    def __init__(self, span: Span, zero_ns: int) -> None:
        self.span = span
        self._zero_ns = zero_ns
        self.context = set_span_in_context(span, _NO_CONTEXT)
        """That of child spans."""
        self.ended: float | None = None
        """In the time of `time.perf_counter`."""

    def time_ns(self, moment: float) -> int:
        """Return the time of a moment of `time.perf_counter`. Those of one trace are consistent with each other."""
        return self._zero_ns + int(moment * 1e9)


class Traces:
    """A RequestObserver; `around` the application, it begins the spans that it ends."""

    def __init__(self, provider: TracerProvider, callers: ContextVar[tuple[object, ...]]) -> None:
        """Put the span of each request into `callers`, for those who work for it."""
        self._provider = provider
        self._tracer = provider.get_tracer("hextasks", version("hextasks"))
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
                    # Its time would be that for which a client listens, and tell nothing of the service.
                    exchange.route = scope.get("path_template")
                    self._end(exchange)

        return traced

    def finished(self, exchange: Exchange) -> None:
        """End the span of a request."""
        self._end(exchange)

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Export the spans that are left, for so long at most; those that take longer are lost."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(seconds)

    def _begin(self, exchange: Exchange, headers: HeaderList) -> RequestSpan | None:
        """Begin the span of a request, and put its ids into the exchange. Return it if it is recorded."""
        method = _method(exchange)
        zero_ns = time.time_ns() - time.perf_counter_ns()
        span = self._tracer.start_span(
            method,
            _parent(exchange.trace, headers),
            SpanKind.SERVER,
            {"http.request.method": OTHER_METHOD if method == "HTTP" else method, "url.scheme": "http"},
            start_time=zero_ns + int(exchange.started * 1e9),
            record_exception=False,
            set_status_on_exception=False,
        )
        context = span.get_span_context()
        exchange.trace = TraceContext(
            format_trace_id(context.trace_id), format_span_id(context.span_id), context.trace_flags
        )
        return RequestSpan(span, zero_ns) if span.is_recording() else None

    def _end(self, exchange: Exchange) -> None:
        if recorded := self._spans.pop(exchange, None):
            recorded.ended = time.perf_counter()
            span = recorded.span
            if exchange.route:
                span.update_name(f"{_method(exchange)} {exchange.route}")
            span.set_attributes(_attributes(exchange))
            if exchange.status >= 500:
                span.set_status(StatusCode.ERROR)
            span.end(recorded.time_ns(recorded.ended))


def _parent(trace: TraceContext | None, headers: HeaderList) -> Context:
    """Return the context of the client's span, which says whether to record."""
    if trace is None:
        return _NO_CONTEXT
    states = [value.decode("latin-1") for name, value in headers if name == b"tracestate"]
    context = SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(trace.flags),
        trace_state=TraceState.from_header(states) if len(",".join(states)) <= MAX_TRACESTATE else None,
    )
    return set_span_in_context(NonRecordingSpan(context), _NO_CONTEXT)


def _method(exchange: Exchange) -> str:
    """Return the method as it begins the name of a span."""
    return exchange.method if exchange.method and exchange.method in METHODS else "HTTP"


def _attributes(exchange: Exchange) -> Mapping[str, str | int | list[str]]:
    attributes: dict[str, str | int | list[str]] = {
        "http.response.status_code": exchange.status,  # 499 where the client has disconnected, as in log and metrics
        "http.response.header.x-request-id": [exchange.request_id],
    }
    if exchange.route:
        attributes["http.route"] = exchange.route
    if exchange.status >= 500:
        attributes["error.type"] = exchange.problem_code or str(exchange.status)
    return attributes
