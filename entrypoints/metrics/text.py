"""The exposition: the text format of Prometheus, version 0.0.4, and OpenMetrics 1.0, which differ little."""

from collections.abc import Iterator, Mapping
from itertools import accumulate

from entrypoints.metrics.table import Labels, Metric

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_UNITS = ("seconds", "bytes")


def exposition(series: Mapping[Metric, Mapping[Labels, list[float]]], *, is_open_metrics: bool = False) -> bytes:
    """Return the text of all series."""
    lines = [line for metric, each in series.items() for line in _lines(metric, each, is_open_metrics)]
    return "\n".join([*lines, *(["# EOF"] if is_open_metrics else []), ""]).encode()


def _lines(metric: Metric, series: Mapping[Labels, list[float]], is_open_metrics: bool) -> Iterator[str]:
    family = metric.name.removesuffix("_total") if is_open_metrics else metric.name
    yield f"# HELP {family} {_escaped(metric.help)}"
    yield f"# TYPE {family} {metric.kind}"
    unit = family.rpartition("_")[2]
    if is_open_metrics and unit in _UNITS:
        yield f"# UNIT {family} {unit}"
    for values, numbers in series.items():
        labels = ",".join(
            f'{name}="{_quoted(value)}"' for name, value in zip(metric.labels, values, strict=True) if value
        )
        if metric.kind == "histogram":
            yield from _histogram(metric, labels, numbers)
        else:
            yield (
                f"{metric.name}{{{labels}}} {_number(numbers[0])}" if labels else f"{metric.name} {_number(numbers[0])}"
            )


def _histogram(metric: Metric, labels: str, numbers: list[float]) -> Iterator[str]:
    counts = list(accumulate(numbers[:-1]))
    before = f'{metric.name}_bucket{{{labels}{"," if labels else ""}le="'
    for bound, count in zip([*map(str, metric.buckets), "+Inf"], counts, strict=True):
        yield f'{before}{bound}"}} {_number(count)}'
    yield f"{metric.name}_sum{{{labels}}} {_number(numbers[-1])}"
    yield f"{metric.name}_count{{{labels}}} {_number(counts[-1])}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
