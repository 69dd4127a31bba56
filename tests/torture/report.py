"""The findings of scenarios, and their table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One promise, and whether it was kept."""

    scenario: str
    done: str
    measured: str
    bound: str
    kept: bool


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as a Markdown table."""
    rows = [("scenario", "what was done", "measured", "bound", "verdict"), ("---",) * 5]
    rows += [(f.scenario, f.done, f.measured, f.bound, "kept" if f.kept else "BROKEN") for f in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    padded = (
        [cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths, strict=True)]
        for row in rows
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def kept(findings: Sequence[Finding]) -> None:
    """Fail, and show the table, unless every promise was kept."""
    assert findings
    assert all(finding.kept for finding in findings), "\n" + table(findings)


def at_most(scenario: str, done: str, seconds: Iterable[float], bound: float, *, share: float = 1.0) -> Finding:
    """Compare times with a bound: the longest, or the percentile `share`."""
    ordered = sorted(seconds)
    measured = percentile(ordered, share)
    which = "longest" if share == 1.0 else f"p{share * 100:g}"
    return Finding(
        scenario=scenario,
        done=done,
        measured=f"{which} {measured:.3f} s of {len(ordered)}",
        bound=f"{bound:g} s",
        kept=bool(ordered) and measured <= bound,
    )


def none_of(scenario: str, done: str, what: str, faults: Sequence[object]) -> Finding:
    """Check that there were no faults; the first three are shown."""
    shown = "".join(f"; {fault}" for fault in faults[:3])
    return Finding(scenario=scenario, done=done, measured=f"{len(faults)} {what}{shown}", bound="0", kept=not faults)


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")
