"""What was measured, as Markdown tables, as JSON and as a plot."""

import os
import platform
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from statistics import median

import msgspec

from tests.benchmarks.batches import BOUND as BATCH_BOUND
from tests.benchmarks.batches import Cost
from tests.benchmarks.comparison import Result
from tests.benchmarks.contenders import WITHOUT_METRICS
from tests.benchmarks.delivery import Delivery
from tests.benchmarks.flat import Flatness
from tests.benchmarks.listeners import Listeners
from tests.benchmarks.many import Crowd
from tests.benchmarks.plot import bar_charts
from tests.benchmarks.tables import number, table

HEAD = (
    "clients",
    "operation",
    "contender",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "service µs",
    "database µs",
    "round trips",
    "MB",
    "usual/it µs",
    "it/usual rate",
    "it/limit µs",
    "limit/it rate",
)
_MICROSECONDS, _RATE = "service_microseconds", "requests_per_second"


def comparison_table(results: Sequence[Result]) -> str:
    """Return the results with their ratios to the usual stack and to the limit.

    A ratio is the median of the rounds' ratios: what disturbs one round disturbs all contenders in it.
    """
    found = _by_window(results)
    rows = []
    for result in results:
        usual, limit = (found.get((result.clients, result.operation, name)) for name in ("usual", "limit"))
        row = [str(result.clients), result.operation, result.contender]
        if (figures := result.figures) is None:
            rows.append([*row, "FAILED", *[""] * (len(HEAD) - 4)])
            continue
        row += [
            number(figures.requests_per_second),
            number(figures.p50_milliseconds, 2),
            number(figures.p99_milliseconds, 2),
            number(figures.service_microseconds),
            number(figures.database_microseconds),
            number(figures.round_trips, 2),
            number(figures.memory_megabytes),
            _ratio(usual, result, _MICROSECONDS, 1),
            _ratio(result, usual, _RATE, 1),
            _ratio(result, limit, _MICROSECONDS, 2),
            _ratio(limit, result, _RATE, 2),
        ]
        rows.append(row)
    return table(HEAD, rows)


def metrics_table(results: Sequence[Result]) -> str:
    """Return the processor time with metrics as a part of that without them; nothing if not both were measured."""
    found = _by_window(results)
    rows = []
    for (clients, operation, contender), result in found.items():
        if contender == "hextasks" and (without := found.get((clients, operation, WITHOUT_METRICS))):
            rows.append([str(clients), operation, _ratio(result, without, _MICROSECONDS, 2)])
    return table(("clients", "operation", "with/without µs (at most 1.05)"), rows) if rows else ""


def crowding_table(results: Sequence[Result]) -> str:
    """Return how p99 grows with the number of clients; nothing if only one number of them was measured."""
    found = _by_window(results)
    few, many = min(result.clients for result in results), max(result.clients for result in results)
    rows = [
        [operation, contender, _ratio(result, found.get((few, operation, contender)), "p99_milliseconds", 2)]
        for (clients, operation, contender), result in found.items()
        if clients == many > few
    ]
    return table(("operation", "contender", f"p99 with {many} / with {few} clients"), rows) if rows else ""


def failures(results: Sequence[Result]) -> list[str]:
    """Return what failed."""
    return [f"{it.contender}, {it.operation}, {it.clients} clients: {it.failure}" for it in results if it.failure]


def _by_window(results: Sequence[Result]) -> dict[tuple[int, str, str], Result]:
    return {(result.clients, result.operation, result.contender): result for result in results}


def _ratio(above: Result | None, below: Result | None, name: str, digits: int) -> str:
    if above is None or below is None or above.failure or below.failure:
        return ""
    pairs = zip(above.rounds, below.rounds, strict=True)
    return number(median(getattr(one, name) / getattr(other, name) for one, other in pairs), digits)


def flatness_table(found: Sequence[Flatness]) -> str:
    """Return how calls on a large table compare with those on a small one."""
    head = ("call", "small µs", "large µs", "ratio", "at most", "verdict")
    return table(
        head,
        [
            [
                it.call,
                number(it.small * 1e6, 1),
                number(it.large * 1e6, 1),
                number(it.ratio, 2),
                *(
                    ("", "")
                    if it.bound is None
                    else (number(it.bound, 2), "kept" if it.ratio <= it.bound else "BROKEN")
                ),
            ]
            for it in found
        ],
    )


def batch_table(single: Cost, batch: Cost) -> str:
    """Return what a batch costs beside a single request."""
    ratio = batch.processor_seconds / single.processor_seconds
    bound = (number(ratio, 2), number(BATCH_BOUND, 0), "kept" if ratio <= BATCH_BOUND else "BROKEN")
    rows = [
        [it.request, number(it.processor_seconds * 1e6, 0), number(it.statements, 2), *compared]
        for it, compared in ((single, ("", "", "")), (batch, bound))
    ]
    return table(("request", "service µs", "statements", "ratio", "at most", "verdict"), rows)


def crowd_table(found: Sequence[Crowd]) -> str:
    """Return what processes did for clients."""
    head = ("processes", "clients", "requests/s", "p99 ms", "MB", "connections", "failed")
    return table(
        head,
        [
            [
                str(it.processes),
                str(it.clients),
                number(it.requests_per_second),
                number(it.p99_milliseconds, 1),
                number(it.memory_megabytes),
                str(it.connections),
                str(it.failed),
            ]
            for it in found
        ],
    )


def delivery_table(found: Sequence[Delivery]) -> str:
    """Return how long changes took to their listener."""
    head = ("written by", "median ms", "longest ms", "at most ms", "verdict")
    return table(
        head,
        [
            [
                it.written_by,
                number(it.middle * 1000, 1),
                number(it.longest * 1000, 1),
                number(it.bound * 1000, 0),
                "kept" if it.longest <= it.bound else "BROKEN",
            ]
            for it in found
        ],
    )


def listener_table(found: Sequence[Listeners]) -> str:
    """Return what requests and listeners had beside each other, round by round."""
    head = ("listeners", "requests/s", "p99 ms", "events/s", "KB each", "failed")
    return table(
        head,
        [
            [
                number(it.listeners),
                number(it.requests_per_second),
                number(it.p99_milliseconds, 1),
                number(it.events_per_second),
                number(it.kilobytes_each, 1),
                str(it.failed),
            ]
            for it in found
        ],
    )


def story_table(found: dict[str, tuple[float, float]]) -> str:
    """Return what the use-cases cost beside a plain dict."""
    head = ("use-case", "plain dict µs", "use-case µs", "ratio (at most 10)")
    return table(
        head,
        [
            [story, number(plain * 1e6, 2), number(ours * 1e6, 2), number(ours / plain, 1)]
            for story, (plain, ours) in found.items()
        ],
    )


def method(postgres_version: str, priority: int) -> str:
    """Return how and on what everything was measured."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"""\
Measured on {os.cpu_count()} cores of {processor}, Python {platform.python_version()}, PostgreSQL {postgres_version}
with fsync and synchronous_commit; load average before: {load}; nice {priority}. Each service has one core and one
process; PostgreSQL and wrk share the others; pgbench takes the place of the service. Windows alternate between
contenders, tables are filled anew before each, and a figure is the median of the rounds. Service and database µs are
processor time for each request; round trips are statements, BEGIN and COMMIT included; wrk corrects percentiles for
coordinated omission. A window in which a request failed, or a write changed nothing, counts as failed."""


def save(folder: Path, sections: Sequence[str], results: Sequence[Result], **others: object) -> None:
    """Write the report, everything that was measured, and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text("\n\n".join(sections) + "\n")
    content = msgspec.json.encode({"method": sections[0], "comparison": results, **others})
    (folder / "results.json").write_bytes(msgspec.json.format(content, indent=1) + b"\n")
    if results:
        (folder / "comparison.svg").write_text(_plot(results))


def _plot(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(result.contender for result in results))
    charts: dict[str, dict[str, dict[str, float]]] = {}
    for what, name in (("Requests per second", _RATE), ("Processor time per request, µs", _MICROSECONDS)):
        for result in results:
            if (figures := result.figures) and not isnan(value := getattr(figures, name)):
                chart = charts.setdefault(f"{what}, {result.clients} clients", {})
                chart.setdefault(result.operation, {})[result.contender] = value
    return bar_charts(charts, names)
