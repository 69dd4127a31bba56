"""Numbers and tables in Markdown."""

from collections.abc import Sequence
from math import isnan


def number(value: float, digits: int = 0) -> str:
    """Return a number for a table; nothing for what is not a number."""
    return "" if isnan(value) else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )
