"""The decision which requests to record, and the making of spans, as cheap as OpenTelemetry's SDK lets them be."""

import threading
from importlib.metadata import version
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
from opentelemetry.trace import Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import Attributes

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class GivenIds(RandomIdGenerator):
    """Gives one span the ids that were chosen for it before it is made, and every other span new ones."""

    given: SpanContext | None = None

    def generate_trace_id(self) -> int:
        """Return the trace's id."""
        return self.given.trace_id if self.given else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the span's id."""
        return self.given.span_id if self.given else super().generate_span_id()


class Recorder:
    """Makes spans of one event loop, which `processor` exports. The environment configures sampler, limits, resource.

    The SDK takes 13 µs to find out that a span is not recorded, and 10 µs to add attributes at its end. So the sampler
    is asked before there is a span, and the span is made when all is known.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._ids = GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=_resource(), id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("hextasks", version("hextasks"))

    def chosen(
        self, trace_id: int | None, parent: Context, kind: SpanKind, attributes: Attributes
    ) -> SpanContext | None:
        """Return the ids of a span that is to be recorded, of a new trace if it has none; None for any other."""
        trace_id = trace_id or self._ids.generate_trace_id()
        result = self._sampler.should_sample(parent, trace_id, "", kind, attributes)
        if result.decision is not Decision.RECORD_AND_SAMPLE:
            return None
        span_id = self._ids.generate_span_id()
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=result.trace_state)

    def span(
        self,
        name: str,
        parent: Context,
        kind: SpanKind,
        attributes: Attributes,
        began_ns: int,
        *,
        ids: SpanContext | None = None,
    ) -> Span:
        """Return a span, which the caller ends; with the ids that were chosen for it, or with new ones."""
        self._ids.given = ids
        try:
            return self._tracer.start_span(name, parent, kind, attributes, start_time=began_ns)
        finally:
            self._ids.given = None

    def close(self, seconds: float) -> None:
        """Export the spans that are left, for so long at most; those that take longer are lost."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(seconds)


def _resource() -> Resource:
    ours = {SERVICE_NAME: "hextasks", SERVICE_VERSION: version("hextasks"), "service.instance.id": str(uuid4())}
    return Resource(ours).merge(OTELResourceDetector().detect())
