"""One request and its response, as every layer of the server and its observers see it."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from entrypoints.http.server.admission import UNCOUNTED, Slot
from entrypoints.http.server.asgi import HeaderList, Scope
from entrypoints.http.server.streams import Stream
from entrypoints.http.server.trace_context import TraceContext, parse_traceparent

SCOPE_KEY = "exchange"
CLIENT_GONE = 499
"""The status recorded for a client that disconnected before its response; nginx's, for the standard has none."""
MAX_PATH, MAX_SEGMENT = 256, 128
"""Characters. In a longer path, longer segments are routed as their number: user ids may be long, nothing else is."""
_PLACE = "% "
"""Before the number. No path that was sent contains a space."""
_random = Random()  # noqa: S311  # an id has to be unique, not secret
_READ_HEADERS = frozenset({b"x-request-id", b"origin", b"traceparent"})
_WELL_FORMED_ID = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")


@dataclass(slots=True, kw_only=True, eq=False)
class Exchange:
    """The state of one request, from its admission to the end of its response. Lives in the ASGI scope."""

    method: str | None
    """As sent, HEAD included; None if the request could not be parsed."""
    path: str
    """Percent-encoded as sent, without the query."""
    request_id: str
    """The client's, if it sent one that is short and plain, else a new one."""
    slot: Slot = UNCOUNTED
    """Replaced once the request is admitted."""
    origin: bytes | None = None
    """The origin of the page that sent the request, if it says so."""
    trace: TraceContext | None = None
    """The span of the request, if this process traces; else the client's, if it sent a valid `traceparent`."""
    started: float = field(default_factory=time.perf_counter)
    route: str | None = None
    """The template that the path matched."""
    user_id: str | None = None
    status: int = 0
    """0 until the response starts."""
    problem_code: str | None = None
    reason: str | None = None
    """Why access was rejected: one of a few texts, which repeat nothing of the token."""
    is_replayed: bool = False
    """Whether the response is that of an earlier request with the same idempotency key."""
    headers: HeaderList = field(default_factory=list)
    """Headers to add to those that the application sends."""
    stream: Stream | None = None
    """Set if the response is one, which goes on after the application has returned."""
    client_gone: bool = False
    """Whether the client disconnected before the response started, so that a missing body is no fault."""

    @classmethod
    def begin(cls, scope: Scope) -> "Exchange":
        """Start the exchange of a request, put it into its ASGI scope, and prepare that for routing."""
        request_ids: list[bytes] = []
        origin = traceparent = None
        for name, value in scope["headers"]:
            if name in _READ_HEADERS:
                if name == b"x-request-id":
                    request_ids.append(value)
                elif name == b"origin":
                    origin = value
                else:
                    traceparent = value if traceparent is None else b""  # a second one makes both invalid
        is_well_formed = len(request_ids) == 1 and _WELL_FORMED_ID.fullmatch(request_ids[0])
        exchange = cls(
            method=scope["method"],
            path=(scope.get("raw_path") or quote(scope["path"]).encode()).decode("ascii", "replace"),
            request_id=request_ids[0].decode() if is_well_formed else new_request_id(),
            origin=origin,
            trace=parse_traceparent(traceparent) if traceparent else None,
        )
        scope[SCOPE_KEY] = exchange
        # Routed before it is decoded, so that an encoded slash in a user id does not end a segment; and without its
        # long segments, because the framework keeps the last 1,024 paths.
        scope["path"] = exchange.path if len(exchange.path) <= MAX_PATH else _without_long_segments(exchange.path)
        if exchange.method == "HEAD":  # answered as the GET that it stands for
            scope["method"] = "GET"
        return exchange

    def open_stream(self) -> Stream:
        """Make the response a stream, once that has begun. Raises TooManyStreams."""
        self.stream = self.slot.open_stream()
        return self.stream

    @property
    def ids(self) -> dict[str, str]:
        """The ids by which other lines in the log name the request."""
        return {"request_id": self.request_id} | ({"trace_id": self.trace.trace_id} if self.trace else {})

    def segment(self, routed: str) -> str:
        """Return a segment of the path as sent, for a segment as it was routed."""
        return self.path.split("/")[int(routed.removeprefix(_PLACE))] if routed.startswith(_PLACE) else routed

    @classmethod
    def unparsed(cls) -> "Exchange":
        """Start the exchange of a malformed request."""
        return cls(method=None, path="", request_id=new_request_id())

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> "Exchange":
        """Return the exchange that an ASGI scope within the server belongs to."""
        exchange: Exchange = scope[SCOPE_KEY]
        return exchange


def _without_long_segments(path: str) -> str:
    segments = path.split("/")
    return "/".join(each if len(each) <= MAX_SEGMENT else f"{_PLACE}{n}" for n, each in enumerate(segments))


def new_request_id() -> str:
    """Return a UUID of version 4, at a quarter of the cost of `str(uuid4())`."""
    digits = f"{_random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
