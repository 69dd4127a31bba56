"""Line charts as SVG, for the documents."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from tests.benchmarks.plot import COLOURS

WIDTH, HEIGHT, COLUMNS = 330, 190, 3
LEFT, RIGHT, TOP, LEGEND = 44, 8, 26, 46
LINES = 6
"""Series in a chart: those with the largest values; the legend has room for no more."""
Series = Mapping[str, Sequence[tuple[float, float]]]
"""Points (seconds, value) by name."""


class Chart(NamedTuple):
    title: str
    unit: str
    series: Series


def line_charts(charts: Sequence[Chart], *, seconds: float, shaded: tuple[float, float]) -> str:
    """Return charts of the same time side by side, as an SVG document, with one part of the time shaded."""
    height = -(-len(charts) // COLUMNS) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {height}"',
        'font-family="sans-serif" font-size="9">',
        f'<rect width="{WIDTH * COLUMNS}" height="{height}" fill="white"/>',
    ]
    for number, chart in enumerate(charts):
        x, y = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{_chart(chart, seconds, shaded)}</g>')
    return "\n".join((*parts, "</svg>")) + "\n"


def _chart(chart: Chart, seconds: float, shaded: tuple[float, float]) -> str:
    largest = max((value for points in chart.series.values() for _, value in points), default=0) or 1
    width, base = WIDTH - LEFT - RIGHT, HEIGHT - LEGEND
    across, up = width / seconds, (base - TOP) / largest
    begin, end = (LEFT + moment * across for moment in shaded)
    parts = [
        f'<text x="8" y="15" font-size="12" font-weight="bold">{escape(chart.title)}</text>',
        f'<rect x="{begin:.1f}" y="{TOP}" width="{end - begin:.1f}" height="{base - TOP}" fill="#fee2e2"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = base - share * (base - TOP)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + width}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        parts.append(
            f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{_short(share * largest, chart.unit)}</text>'
        )
    parts += [
        f'<text x="{LEFT + moment * across:.1f}" y="{base + 11}" text-anchor="middle">{moment} s</text>'
        for moment in range(0, int(seconds) + 1, 20)
    ]
    named = sorted(chart.series.items(), key=lambda item: -max(value for _, value in item[1]))[:LINES]
    for number, (name, points) in enumerate(named):
        line = " ".join(f"{LEFT + moment * across:.1f},{base - value * up:.1f}" for moment, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[number]}" stroke-width="1.2"/>')
        x, y = LEFT + number % 2 * (width / 2), base + 22 + number // 2 * 10
        parts.append(f'<rect x="{x:.0f}" y="{y - 7}" width="7" height="7" fill="{COLOURS[number]}"/>')
        parts.append(f'<text x="{x + 10:.0f}" y="{y}">{escape(name[:27])}</text>')
    return "\n".join(parts)


def _short(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit != "s":
        return f"{value:.3g}"
    return f"{value:.3g} s" if value >= 1 or not value else f"{value * 1000:.3g} ms"
