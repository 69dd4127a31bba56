"""The export of spans: in batches, by a thread of its own, from a bounded queue."""

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult

from entrypoints.traces import ExporterKind

_log = logging.getLogger("hextasks.traces")


def make_processor(kind: ExporterKind) -> SpanProcessor:
    """Return what exports spans. The environment configures queue, endpoint and headers."""
    processor = BatchSpanProcessor(ReportingExporter(_exporter(kind)))
    # It would log each failed try, each span that does not fit into the queue, and clients' malformed headers.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return processor


def _exporter(kind: ExporterKind) -> SpanExporter:
    if kind == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class ReportingExporter(SpanExporter):
    """Logs when the export begins to fail, and when it works again, with the number of spans that were lost."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans. Called by one thread."""
        try:
            result = self._exporter.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                _log.info("spans_exported_again", extra={"fields": {"lost": self._lost}})
            self._lost = 0
            return result
        if not self._lost:
            _log.warning("spans_not_exported")
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """Stop, with an export that is under way."""
        self._exporter.shutdown()
