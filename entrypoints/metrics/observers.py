"""The observers that count requests and statements. Each keeps plain numbers, one list for each series."""

from bisect import bisect_left
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from entrypoints.conventions import driver_error, request_error, request_method
from entrypoints.http.server.exchange import Exchange
from entrypoints.metrics.samples import Sample
from entrypoints.metrics.table import (
    ACCESS_REJECTED,
    REPLAYS,
    REQUEST_DURATION,
    REQUESTS_REJECTED,
    STATEMENT_DURATION,
    Labels,
    Metric,
)

if TYPE_CHECKING:
    from adapters.postgres import Statement

CAPACITY_CODES = ("overloaded", "rate_limited", "shutting_down")
ACCESS_CODES = frozenset({"token_missing", "token_invalid", "token_expired", "forbidden"})


def _observe(numbers: list[float], buckets: tuple[float, ...], started: float) -> None:
    """Add the time since `started` to the numbers of a histogram."""
    seconds = perf_counter() - started
    numbers[bisect_left(buckets, seconds)] += 1
    numbers[-1] += seconds


class Series(dict[Any, list[float]]):
    """The series of one metric, by what tells them apart where they are counted."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = metric
        self._labels: dict[Any, Labels] = {}

    def begin(self, key: Any, labels: Labels) -> list[float]:
        """Add a series, which starts at 0."""
        self._labels[key] = labels
        numbers = self[key] = [0] * self._metric.size
        return numbers

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers of now."""
        return (Sample(self._metric.name, self._labels[key], numbers) for key, numbers in self.items())


class RequestMetrics:
    """A RequestObserver: times of requests, and rejections."""

    def __init__(self) -> None:
        self._durations = Series(REQUEST_DURATION)
        self._rejected = Series(REQUESTS_REJECTED)
        self._access = Series(ACCESS_REJECTED)
        self._replays = Series(REPLAYS)
        self._replays.begin((), ())
        for code in CAPACITY_CODES:  # so that the first rejection is an increase
            self._rejected.begin(code, (code,))

    def finished(self, exchange: Exchange) -> None:
        """Count a request."""
        code = exchange.problem_code
        key = (exchange.method, exchange.route, exchange.status, code)
        _observe(self._durations.get(key) or self._other(key), REQUEST_DURATION.buckets, exchange.started)
        if exchange.is_replayed:
            self._replays[()][0] += 1
        if code is None:
            return
        if code in self._rejected:
            self._rejected[code][0] += 1
        elif code in ACCESS_CODES:
            access = (code, exchange.reason or "")
            (self._access.get(access) or self._access.begin(access, access))[0] += 1

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers of now."""
        for series in (self._durations, self._rejected, self._access, self._replays):
            yield from series.samples()

    def _other(self, key: tuple[str | None, str | None, int, str | None]) -> list[float]:
        """Return the series of a request that is the first of its kind, or has an unknown method."""
        method, route, status, code = key
        method = request_method(method)
        key = (method, route, status, code)
        labels = (method, "http", route or "", str(status) if status else "", request_error(status, code))
        return self._durations.get(key) or self._durations.begin(key, labels)


class StatementMetrics:
    """A StatementObserver: times of statements."""

    def __init__(self) -> None:
        self._durations = Series(STATEMENT_DURATION)

    def finished(self, statement: "Statement", started: float, error: BaseException | None) -> None:
        """Count a statement."""
        key = (statement.name, "" if error is None else type(driver_error(error)).__name__)
        numbers = self._durations.get(key) or self._durations.begin(key, ("postgresql", *key))
        _observe(numbers, STATEMENT_DURATION.buckets, started)

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers of now."""
        return self._durations.samples()
