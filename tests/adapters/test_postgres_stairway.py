"""Every earlier revision is upgraded with rows in it, and taken back to: no value of a row changes."""

from typing import Any

import pytest
from alembic import command

from adapters.postgres import Database, DatabaseNotReady, PostgresStorage, PostgresTaskRepository, migrate
from adapters.postgres.migrations import LOCATION
from application import NOTHING
from hextasks.testing.contract.calls import walk
from tests.adapters.test_postgres_migrations import alembic
from tests.sql import fetch

pytestmark = pytest.mark.database
REVISIONS = sorted(path.name.partition("_")[0] for path in LOCATION.glob("versions/*.py"))
USERS = ("ada", "größe", "u" * 255)
ROWS = 200
FILL = {
    "tasks": f"""
        INSERT INTO tasks (user_id, id, title, created_at, updated_at, completed_at, version)
        SELECT u, gen_random_uuid(), (ARRAY['Buy milk ', 'ÄRGER mit Straße ', repeat('😀', 490)])[1 + n % 3] || n,
            now() - interval '2 days', now() - n * interval '1 us',
            CASE n % 2 WHEN 0 THEN now() - interval '1 day' END, n
        FROM unnest($1::text[]) AS u, generate_series(1, {ROWS}) AS n
    """,
    "task_tombstones": f"""
        INSERT INTO task_tombstones (user_id, task_id, version, removed_at)
        SELECT u, gen_random_uuid(), {ROWS} + n, now() FROM unnest($1::text[]) AS u, generate_series(1, 20) AS n
    """,
    "task_counters": f"""
        INSERT INTO task_counters (user_id, value) SELECT u, {ROWS} + 20 FROM unnest($1::text[]) AS u
    """,
    "idempotency_keys": """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, number, epoch, result, stored_at)
        SELECT u, 'key ' || n, sha256('x'), n, 1, '{"ö": 1}', now()
        FROM unnest($1::text[]) AS u, generate_series(1, 20) AS n
    """,
}
COLUMNS = """
    SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = ANY ($1)
        AND column_name <> 'title_key' -- which `migrate` fills in, and which belongs to no revision
    GROUP BY table_name
"""


async def contents(database: Database, columns: dict[str, str]) -> dict[str, list[Any]]:
    return {
        table: [tuple(row) for row in await fetch(database, f"SELECT {names} FROM {table} ORDER BY {names}")]
        for table, names in columns.items()
    }


@pytest.mark.parametrize("revision", REVISIONS)
async def test_rows_are_kept(empty: Database, empty_url: str, revision: str) -> None:
    await alembic(empty, command.upgrade, revision)
    columns = dict(await fetch(empty, COLUMNS, [*FILL]))
    for table in columns:
        await fetch(empty, FILL[table], [*USERS])
    before = await contents(empty, columns)
    assert len(before["tasks"]) == len(USERS) * ROWS

    if revision != REVISIONS[-1]:
        storage = PostgresStorage(empty_url, migrates=False)
        with pytest.raises(DatabaseNotReady, match=rf"at revision {revision}, .* needs {REVISIONS[-1]}. Run: hextasks"):
            await storage.start()
        await storage.close()
    await migrate(empty)
    assert await contents(empty, columns) == before
    tasks = PostgresTaskRepository(empty)
    for user in USERS:
        rows = [(row[1], row[6]) for row in before["tasks"] if row[0] == user]
        page = await tasks.changes(user, since=NOTHING, limit=500)
        assert sorted((change.id, change.version) for change in page.changes) == rows
        assert sorted((task.id, task.version) for task in await walk(tasks, user, limit=150)) == rows

    await alembic(empty, command.downgrade, revision)
    assert await contents(empty, columns) == before
    await migrate(empty)
    assert await contents(empty, columns) == before
