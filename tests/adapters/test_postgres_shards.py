"""On distributed tables, a statement visits the shard of one user or is named here, and has a form that Citus accepts.

PostgreSQL's planner proves the first: each table is read at `user_id = $n`, of one parameter. `pytest -p tests.citus`
has Citus itself explain the same statements.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from adapters.postgres import Database, Statement
from adapters.postgres.executor import Executor
from adapters.postgres.purge_statements import PURGE_REMOVALS, purge
from tests.citus import IS_USED
from tests.databases import Server, migrated, patient
from tests.sql import fetch
from tests.statements import statements
from tests.tenancy import OWNED, judge

pytestmark = pytest.mark.database

MANY_SHARDS = {
    "task_states",  # the users who listen to one process
    "task_states_of_all",  # consumers of domain events
    "task_tombstones_old",  # the purge
    "idempotency_keys_old",
    "epochs_renew",  # hextasks restored
    "search_keys_read",  # hextasks migrate
}
ONE_NODE = {"task_tombstones_purge", "idempotency_keys_purge", "search_keys_write"}
"""Citus refuses these while it plans them; each caller then uses statements for single users."""
CATALOGUE = {"revision", "revision_unrecorded", "migration_progress", "distribution"}


STATEMENTS = [each for each in statements().values() if each.name not in CATALOGUE | ONE_NODE]
ROUTED = [each for each in STATEMENTS if each.name not in MANY_SHARDS]


def named(statement: Statement) -> str:
    return statement.name


def faults(sql: str) -> list[str]:
    """Return what Citus 13 refuses in a statement, or answers wrongly."""
    from sqlglot import exp, parse_one

    tree = parse_one(sql, dialect="postgres")
    nested, selects = (exp.Subquery, exp.Select), [*tree.find_all(exp.Select)]
    locking = [select for select in selects if select.args.get("locks")]
    inserted = [insert.expression for insert in tree.find_all(exp.Insert)]
    wrong = {
        "a sub-select in RETURNING": any(each.find(*nested) for each in tree.find_all(exp.Returning)),
        "a sub-select or function in DO UPDATE": any(
            each.find(*nested, exp.Anonymous) for each in tree.find_all(exp.OnConflict)
        ),
        "no columns": any(isinstance(each.parent, exp.CTE) and not each.expressions for each in selects),
        "a row lock beside a join": any(each.args.get("joins") for each in locking),
        "a sub-select in VALUES": any(isinstance(each, exp.Values) and each.find(*nested) for each in inserted),
        "what differs from node to node": re.search(r"\b(ctid|random|gen_random_uuid|clock_timestamp)\b", sql),
    }
    return [fault for fault, is_found in wrong.items() if is_found]


def test_the_lists_name_statements_that_exist() -> None:
    names = {each.name for each in statements().values()}
    assert names >= MANY_SHARDS | ONE_NODE | CATALOGUE
    assert {each.name for each in ROUTED} == names - MANY_SHARDS - ONE_NODE - CATALOGUE
    for sql in (each.sql for each in statements().values() if each.name in CATALOGUE):
        assert not [table for table in OWNED if re.search(rf"\b(FROM|JOIN|INTO|UPDATE) {table}\b", sql)]


@pytest.mark.skipif(IS_USED, reason="its plans are Citus's")
@pytest.mark.parametrize("statement", ROUTED, ids=named)
async def test_a_statement_visits_the_shard_of_one_user(database: Database, statement: Statement) -> None:
    arguments = tuple("ada" if name == "user_id" else None for name in statement.parameters)
    assert arguments.count("ada") == 1
    async with database.connection() as connection:
        verdict = await judge(connection, statement.sql, arguments, "ada")
    assert verdict.tables
    assert verdict.wrongs == []


@pytest.mark.parametrize("statement", STATEMENTS, ids=named)
def test_a_statement_has_a_form_that_citus_accepts(statement: Statement) -> None:
    assert faults(statement.sql) == []


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("WITH c AS (SELECT 1 AS n) INSERT INTO t SELECT n FROM c RETURNING (SELECT n FROM c)", "RETURNING"),
        ("INSERT INTO t SELECT 1 ON CONFLICT (n) DO UPDATE SET n = (SELECT 1)", "DO UPDATE"),
        ("WITH c AS (SELECT FROM t) SELECT 1 FROM c", "no columns"),
        ("SELECT t.n FROM c JOIN t ON t.n = c.n FOR UPDATE OF t", "row lock"),
        ("INSERT INTO t VALUES (1, (SELECT n FROM c))", "VALUES"),
        ("UPDATE t SET n = random()", "node to node"),
        ("DELETE FROM t WHERE ctid = $1", "node to node"),
    ],
)
def test_a_form_that_citus_refuses_is_detected(sql: str, fault: str) -> None:
    assert fault in " ".join(faults(sql))


async def test_a_key_that_is_stored_again_meanwhile_is_not_purged(server: Server) -> None:
    """Read as old, it was purged by another process, and stored again by its user before this one deletes it."""
    database = patient(await migrated(server))

    class Distributed(Executor):
        timeout = database.timeout

        async def fetch(self, statement: Statement, arguments: Sequence[Any] = (), **limits: Any) -> list[Any]:
            if statement is PURGE_REMOVALS:
                raise asyncpg.FeatureNotSupportedError
            rows = await database.fetch(statement, arguments, **limits)
            if statement.name == "idempotency_keys_old":
                assert len(rows) == 2
                await fetch(database, "UPDATE idempotency_keys SET stored_at = now() WHERE key = 'again'")
            return rows

    await fetch(
        database,
        """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, number, epoch, result, stored_at)
        SELECT 'ada', key, 'f', 1, 1, 'r', now() - interval '2 days' FROM unnest(ARRAY['once', 'again']) AS key
        """,
    )
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert await purge(Distributed(), removed_before=yesterday, keys_before=yesterday, limit=10) == 1
    assert [row["key"] for row in await fetch(database, "SELECT key FROM idempotency_keys")] == ["again"]
    await database.close()


@pytest.mark.skipif(not IS_USED, reason="needs a Citus cluster: pytest -p tests.citus")
@pytest.mark.parametrize("statement", STATEMENTS, ids=named)
async def test_citus_plans_it(server: Server, statement: Statement) -> None:
    database = patient(await on_citus(server))
    async with database.connection() as connection:
        await connection.fetch(f"PREPARE explained AS {statement.sql}")
        types = "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'explained'"
        values = ", ".join(map(value, await connection.fetchval(types)))
        lines: list[Any] = await connection.fetch(f"EXPLAIN (COSTS OFF) EXECUTE explained ({values})")
    await database.close()
    counts = {int(count) for count in re.findall(r"Task Count: (\d+)", "\n".join(line[0] for line in lines))}
    assert counts == {1} or statement not in ROUTED


_made: list[str] = []


async def on_citus(server: Server) -> str:
    if not _made:
        _made.append(await migrated(server))
    return _made[0]


def value(kind: str) -> str:
    if kind.endswith("[]"):
        return f"ARRAY[{value(kind[:-2])}]::{kind}"
    given = {"text": "ada", "character varying": "ada", "uuid": "018f0000-0000-7000-8000-000000000001", "bytea": "x"}
    given |= {"bigint": "1", "integer": "1", "timestamp with time zone": "2026-01-01Z"}
    return f"'{given[kind]}'::{kind}"
