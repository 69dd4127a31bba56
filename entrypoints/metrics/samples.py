"""Samples: the numbers of one series at one time, and their sum over several processes."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from entrypoints.metrics.table import METRICS, Labels, Metric


class Sample(NamedTuple):
    """The numbers of a series: one, or of a histogram the count of each bucket by itself, then the sum."""

    name: str
    labels: Labels
    numbers: list[float]


Source = Callable[[], Iterable[Sample]]
"""Yields numbers at the time of a scrape."""


def one(metric: Metric, value: float, *labels: str) -> Sample:
    """Return the value of a metric that is no histogram."""
    return Sample(metric.name, labels, [value])


def added_up(samples: Iterable[Sample]) -> dict[Metric, dict[Labels, list[float]]]:
    """Return the series of each metric, those with the same labels added up as the metric says."""
    found: dict[Metric, dict[Labels, list[float]]] = {metric: {} for metric in METRICS.values()}
    for name, labels, numbers in samples:
        metric = METRICS[name]
        series = found[metric]
        before = series.get(labels)
        series[labels] = (
            numbers if before is None else [_TOTALS[metric.total](pair) for pair in zip(before, numbers, strict=True)]
        )
    return {metric: series for metric, series in found.items() if series}


def cumulative(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield the samples that only grow: what a process has counted remains when it ends."""
    return (each for each in samples if METRICS[each.name].kind != "gauge")


_TOTALS: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "min": min, "max": max}
