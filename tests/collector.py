"""A collector of spans, as OTLP over HTTP reaches one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.patience import DEADLINE_SECONDS


class Collector:
    def __init__(self, url: str) -> None:
        self.url = url
        self.resource: dict[str, Any] = {}
        self._received: SimpleQueue[Span] = SimpleQueue()
        self._spans: list[Span] = []

    def accept(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = attributes(group.resource.attributes)
            for scope in group.scope_spans:
                for span in scope.spans:
                    self._received.put(span)

    def trace(self, trace_id: str) -> list[Span]:
        """Return the request's span, which is exported last, and those of its statements, when they have arrived."""
        while True:
            found = [span for span in self._spans if span.trace_id.hex() == trace_id]
            if found and found[-1].kind == Span.SPAN_KIND_SERVER:
                return [found[-1], *found[:-1]]
            self._spans.append(self._received.get(timeout=DEADLINE_SECONDS))

    def everything(self) -> list[Span]:
        """Return all spans that have arrived."""
        try:
            while True:
                self._spans.append(self._received.get_nowait())
        except Empty:
            return self._spans


@contextmanager
def running_collector(port: int = 0) -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.accept(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def attributes(pairs: "list[KeyValue] | Any") -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
