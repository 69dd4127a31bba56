"""Bar charts as SVG, for the documents."""

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#2563eb", "#9ca3af", "#f59e0b", "#059669", "#7c3aed", "#dc2626", "#0891b2")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 960, 280, 20, 50, 30
Groups = Mapping[str, Mapping[str, float]]
"""For each group of bars the value of each series; one that is missing leaves a gap."""


def bar_charts(charts: Mapping[str, Groups], series: Sequence[str]) -> str:
    """Return charts, by title, one below the other, as an SVG document."""
    height = HEIGHT * len(charts) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, name in enumerate(series):
        x = LEFT + number * 130
        parts.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{_colour(number)}"/>')
        parts.append(f'<text x="{x + 18}" y="22">{escape(name)}</text>')
    for number, (title, groups) in enumerate(charts.items()):
        parts.append(f'<g transform="translate(0 {40 + number * HEIGHT})">{_chart(title, groups, series)}</g>')
    return "\n".join((*parts, "</svg>")) + "\n"


def _chart(title: str, groups: Groups, series: Sequence[str]) -> str:
    largest = max((value for group in groups.values() for value in group.values()), default=0) or 1
    group_width = (WIDTH - 2 * LEFT) / max(1, len(groups))
    bar_width = group_width * 0.85 / max(1, len(series))
    base, scale = HEIGHT - BOTTOM, (HEIGHT - TOP - BOTTOM) / largest
    parts = [f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>']
    for place, (name, group) in enumerate(groups.items()):
        x = LEFT + place * group_width
        middle = x + group_width * 0.425
        parts.append(f'<text x="{middle:.1f}" y="{base + 18}" text-anchor="middle">{escape(name)}</text>')
        for number, one in enumerate(series):
            if one in group:
                bar, height = x + number * bar_width, group[one] * scale
                parts.append(
                    f'<rect x="{bar:.1f}" y="{base - height:.1f}" width="{bar_width - 1:.1f}" height="{height:.1f}"'
                    f' fill="{_colour(number)}"/>'
                )
                parts.append(
                    f'<text x="{bar + bar_width / 2:.1f}" y="{base - height - 3:.1f}" font-size="8"'
                    f' text-anchor="middle">{_short(group[one])}</text>'
                )
    parts.append(f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - LEFT}" y2="{base}" stroke="#374151"/>')
    return "\n".join(parts)


def _short(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
