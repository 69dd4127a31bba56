"""Trace context (W3C): the ids by which a client, this service and their logs name one request."""

import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ZEROS = {"0" * 32, "0" * 16}


class TraceContext(NamedTuple):
    """A span as other processes and the log know it."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    flags: int = 0
    """Bit 0: whether the span is recorded."""


def parse_traceparent(header: bytes) -> TraceContext | None:
    """Return the span that a `traceparent` header names, the client's; None for one that is not valid."""
    match = _TRACEPARENT.fullmatch(header.decode("latin-1"))
    if not match:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not _ZEROS.isdisjoint((trace_id, span_id)):
        return None
    return TraceContext(trace_id, span_id, int(flags, 16))
