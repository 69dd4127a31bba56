"""`python -m tests.benchmarks.shards URL`: the load of each shard for 10,000,000 users of uneven activity.

A PostgreSQL computes the hash by which Citus chooses a shard, `hashtext`, of real ids (UUIDs as text), and sums up the
activity of the users in each of 128 ranges of hashes. Citus cuts the hashes into equal ranges, so that 64 shards are
pairs of these. Shards are dealt to nodes in turn. Prints a table, and writes docs/shards.svg.
"""

import asyncio
import sys
from pathlib import Path

import asyncpg

from tests.benchmarks.plot import bar_charts
from tests.benchmarks.tables import table

USERS = 10_000_000
RANGES = 128
SHARDS = (32, 64, 128)
NODES = (2, 4, 8)
PLOT = Path(__file__).parents[2] / "docs" / "shards.svg"
ACTIVITIES = {
    "even": "1",
    "log-normal, sigma 1": "exp(z)",
    "log-normal, sigma 2": "exp(2 * z)",
    "Zipf, exponent 0.8": "n ^ -0.8",
    "Zipf, exponent 1": "1.0 / n",
}
"""What a user does, in any unit: of `n`, the rank, or of `z`, a standard normal variable."""


def query() -> str:
    """Return SQL for the activity of the users of each range, and of the most active one of all."""
    names = [f"a{place}" for place in range(len(ACTIVITIES))]
    activities = ", ".join(f"({sql})::float8 AS {name}" for name, sql in zip(names, ACTIVITIES.values(), strict=True))
    sums = ", ".join(f"sum({name}), max({name})" for name in names)
    return f"""
    SELECT (hashtext(md5(n::text)::uuid::text)::bigint + 2147483648) / (4294967296 / {RANGES}) AS place, {sums}
    FROM (
        SELECT n, {activities} FROM (
            SELECT n::float8, sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS z
            FROM generate_series(1, {USERS}) AS n
        ) AS users
    ) AS users
    GROUP BY place ORDER BY place
    """


def worst(loads: list[float]) -> float:
    """Return the largest load, in units of the mean."""
    return max(loads) * len(loads) / sum(loads)


async def main(url: str) -> None:
    """Simulate, print and plot."""
    connection = await asyncpg.connect(url)
    await connection.execute("SELECT setseed(0.5)")
    found = await connection.fetch(query())
    await connection.close()
    assert len(found) == RANGES
    rows, plotted = [], {}
    for place, name in enumerate(ACTIVITIES):
        ranges = [row[1 + 2 * place] for row in found]
        hottest = max(row[2 + 2 * place] for row in found)
        cells = [name, f"{hottest / sum(ranges):.2e}"]
        bars = {}
        for shards in SHARDS:
            width = RANGES // shards
            loads = [sum(ranges[start : start + width]) for start in range(0, RANGES, width)]
            bars[f"{shards} shards"] = worst(loads)
            cells.append(f"{worst(loads):.3f}")
            cells += [f"{worst([sum(loads[node::nodes]) for node in range(nodes)]):.3f}" for nodes in NODES]
        rows.append(cells)
        plotted[name] = {series: 100 * (value - 1) for series, value in bars.items()}
    columns = [f"{shards} shards{on}" for shards in SHARDS for on in ("", *(f", {nodes} nodes" for nodes in NODES))]
    print(table(["activity", "share of the first user", *columns], rows))
    title = f"Load of the busiest shard, in % above the mean, {USERS:,} users"
    PLOT.write_text(bar_charts({title: plotted}, [f"{shards} shards" for shards in SHARDS]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
