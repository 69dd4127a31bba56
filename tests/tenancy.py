"""Whether a statement is restricted to one user's rows, according to PostgreSQL's planner."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from adapters.postgres.tables import metadata

# Each table that holds tasks, and the place of `user_id` in its rows.
OWNED = {table.name: [*table.columns].index(table.c.user_id) for table in metadata.tables.values()}
Node = dict[str, Any]


@dataclass
class Verdict:
    """The tables that a statement reads or writes, and what in it is not held to the user."""

    tables: set[str] = field(default_factory=set)
    wrongs: list[str] = field(default_factory=list)


async def generic_plan(connection: asyncpg.Connection, sql: str, form: str) -> list[asyncpg.Record]:
    """Explain a statement without running it, as one prepared long ago, whose plan fits whatever arguments.

    Raises PostgresSyntaxError for what has no plan: commands such as BEGIN, and several statements in one.
    """
    places = max((int(n) for n in re.findall(r"\$(\d+)", sql)), default=0)
    values = f"({', '.join(['NULL'] * places)})" if places else ""
    await connection.fetch(f"PREPARE explained AS {sql}")  # with `execute`, a second statement would be run
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            explain = f"EXPLAIN (COSTS OFF, {form}) EXECUTE explained{values}"
            lines: list[asyncpg.Record] = await connection.fetch(explain)
            return lines
    finally:
        await connection.execute("DEALLOCATE explained")


async def judge(connection: asyncpg.Connection, sql: str, arguments: tuple[Any, ...], user: str) -> Verdict:
    """Walk through the plan of a statement. Raises PostgresSyntaxError for what has none."""
    ((explained,),) = await generic_plan(connection, sql, "VERBOSE, FORMAT JSON")
    nodes = [*_walk(json.loads(explained)[0]["Plan"])]
    # Before version 17, the results of sub-selects are shown as $0, $1 and so on, too.
    results = set(re.findall(r"\$\d+", " ".join(node.get("Subplan Name", "") for node in nodes)))
    user_places = {f"${n}" for n, value in enumerate(arguments, start=1) if value == user} - results
    user_places |= {f"ANY (${n})" for n, value in enumerate(arguments, start=1) if value == [user]}
    verdict = Verdict()
    for node in nodes:
        if table := node.get("Relation Name"):
            verdict.tables.add(table)
            if table in OWNED and not _is_held(node, OWNED[table], user_places):
                verdict.wrongs.append(f"{node.get('Operation', node['Node Type'])} {table}")
    return verdict


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)


def _is_held(node: Node, place: int, user_places: set[str]) -> bool:
    if node["Node Type"] == "ModifyTable":
        if node["Operation"] == "Insert":
            (source,) = [child for child in node["Plans"] if child["Parent Relationship"] == "Outer"]
            # A row that it runs into, and updates instead, has the same user, who leads every key.
            return _plain(source["Output"][place]) in user_places
        return node["Operation"] in ("Update", "Delete")  # of rows that a scan below has found
    column = f"{node['Alias']}.user_id"
    conditions = [part for name in ("Index Cond", "Recheck Cond", "Filter") for part in _conjuncts(node.get(name, ""))]
    equals = [part.removeprefix(f"{column} = ") for part in conditions if part.startswith(f"{column} = ")]
    return any(_plain(value) in user_places for value in equals)


def _conjuncts(condition: str) -> list[str]:
    """Take `((a) AND (b OR (c)))` apart, into `a` and `b OR (c)`; what is joined in another way stays whole."""
    inner = re.sub(r"'(?:[^']|'')*'", "''", condition)[1:-1]
    groups, depth = [""], 0
    for character in inner:
        depth -= character == ")"
        if depth:
            groups[-1] += character
        elif character == ")":
            groups.append("")
        depth += character == "("
    parts = groups[:-1]
    return parts if inner == " AND ".join(f"({part})" for part in parts) else [inner]


def _plain(value: str) -> str:
    """Return the parameter behind a cast from one type of text to the other."""
    return re.sub(r"^\((\$\d+)\)::(text|character varying)$", r"\1", value)
