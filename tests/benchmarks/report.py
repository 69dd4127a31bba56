"""The results as a table and as JSON."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path

from tests.benchmarks.comparison import Figures, Result

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
    "usual/it: µs",
    "it/usual: rate",
    "it/limit: µs",
    "limit/it: rate",
)


def comparison_table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table, each with its ratios to the usual stack and to the limit."""
    found = {(result.clients, result.operation, result.contender): result.figures for result in results}
    rows = []
    for result in results:
        key = (result.clients, result.operation)
        row = [str(result.clients), result.operation, result.contender]
        if result.figures is None:
            rows.append([*row, "FAILED", *[""] * (len(HEAD) - 4)])
        else:
            usual, limit = found.get((*key, "usual")), found.get((*key, "limit"))
            rows.append([*row, *_cells(result.figures), *_ratios(result.figures, usual, limit)])
    failures = [
        f"{result.contender}, {result.operation}, {result.clients} clients: {result.failure}"
        for result in results
        if result.failure
    ]
    return "\n".join([table(HEAD, rows), *failures])


def _cells(figures: Figures) -> list[str]:
    return [
        _number(figures.requests_per_second, 0),
        _number(figures.p50_milliseconds, 2),
        _number(figures.p99_milliseconds, 2),
        _number(figures.service_microseconds, 0),
        _number(figures.database_microseconds, 0),
        _number(figures.round_trips, 2),
        _number(figures.memory_megabytes, 0),
    ]


def _ratios(it: Figures, usual: Figures | None, limit: Figures | None) -> list[str]:
    return [
        _number(usual.service_microseconds / it.service_microseconds, 1) if usual else "",
        _number(it.requests_per_second / usual.requests_per_second, 1) if usual else "",
        _number(it.service_microseconds / limit.service_microseconds, 2) if limit else "",
        _number(limit.requests_per_second / it.requests_per_second, 2) if limit else "",
    ]


def _number(value: float, digits: int) -> str:
    return "" if isnan(value) else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def save(file: Path, **sections: object) -> None:
    """Write everything that was measured as JSON."""
    machine = {"machine": platform.machine(), "system": platform.platform(), "python": platform.python_version()}
    file.write_text(json.dumps({"machine": machine, **sections}, indent=1) + "\n")


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return results with all of their rounds."""
    return [asdict(result) for result in results]
