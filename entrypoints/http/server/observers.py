"""Observers, which are notified of each request at its end."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from entrypoints.http.server.exchange import Exchange

PATH_MAX_LENGTH = 256


class RequestObserver(Protocol):
    """Log, metrics and traces are observers."""

    def finished(self, exchange: Exchange) -> None:
        """Record a request that has ended, rejected ones included. Called once for each.

        Must neither block nor raise.
        """
        ...


class AccessLine(msgspec.Struct, kw_only=True):
    """One request in the log."""

    time: datetime
    level: str = "INFO"
    logger: str = "hextasks.request"
    message: str = "request"
    method: str | None
    route: str | None
    path: str | UnsetType = UNSET
    """Of a request without a route: the path as sent, without the query."""
    status: int
    duration_ms: float
    request_id: str
    trace_id: str | UnsetType = UNSET
    span_id: str | UnsetType = UNSET
    """Of a request that is traced, by this process or by its client."""
    user_id: str | None
    code: str | None
    reason: str | UnsetType = UNSET
    """Of a request whose access was rejected."""


class AccessLog:
    """Writes one line per request."""

    def __init__(self, write: Callable[[bytes], None], encode: Callable[[AccessLine], bytes]) -> None:
        """Pass each line, as `encode` makes it, to `write`."""
        self._write, self._encode = write, encode

    def finished(self, exchange: Exchange) -> None:
        """Write the line of a request."""
        line = AccessLine(
            time=datetime.now(UTC),
            method=exchange.method,
            route=exchange.route,
            path=exchange.path[:PATH_MAX_LENGTH] if exchange.route is None else UNSET,
            status=exchange.status,
            duration_ms=round((perf_counter() - exchange.started) * 1000, 3),
            request_id=exchange.request_id,
            user_id=exchange.user_id,
            code=exchange.problem_code,
            reason=exchange.reason or UNSET,
        )
        if exchange.trace:
            line.trace_id, line.span_id = exchange.trace.trace_id, exchange.trace.span_id
        self._write(self._encode(line))
