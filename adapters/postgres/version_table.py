"""The table that has the revision of the schema, also in a database of a release that had no such table.

Beside the revision it has `compatible_from`, the oldest revision whose release works on this schema. So a release knows
whether it can serve a database that a newer one has migrated, of whose migrations it knows nothing.
"""

from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import text

from adapters.postgres.statement import Statement
from adapters.postgres.tables import VERSION_TABLE

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

# As JSON, a column that does not exist yet is NULL. (S608: the parts of SQL here are constants and quoted names.)
RECORDED = Statement(
    name="revision",
    sql=f"SELECT version_num, to_jsonb(v) ->> 'compatible_from' AS compatible_from FROM {VERSION_TABLE} AS v",  # noqa: S608
    is_read=True,
)
# Releases before `hextasks_version` recorded the revision in `alembic_version`. That table may as well be the host's,
# with revisions of its own, so that it is never read: the columns of our tables tell the revision. Migration 0004,
# which adds only indexes, is carried out again; it keeps those that are complete.
UNRECORDED = Statement(
    name="revision_unrecorded",
    sql="""
    SELECT max(revision) AS revision, NULL AS compatible_from, quote_ident(s.nspname) AS quoted_schema
    FROM (
        VALUES
            ('0001', 'task_tombstones', 'removed_at'),
            ('0002', 'tasks', 'title_key'),
            ('0003', 'idempotency_keys', 'fingerprint')
    ) AS added (revision, table_name, column_name)
    JOIN pg_class AS c ON c.relname = table_name
    JOIN pg_namespace AS s ON s.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = column_name
    WHERE CASE WHEN $1::text IS NULL THEN pg_table_is_visible(c.oid) ELSE s.nspname = $1 END
    GROUP BY s.nspname HAVING bool_or(revision = '0001')
    """,
    is_read=True,
)
"""Returns the revision of tables that such a release made, and their schema as SQL writes it, or no row."""


async def record_earlier_revision(connection: asyncpg.Connection, schema: str | None) -> None:
    """Record the revision of tables from a release before the version table, which Alembic would take for missing."""
    found = await connection.fetchrow(UNRECORDED.sql, schema)
    has_version_table = "SELECT to_regclass($1) IS NOT NULL"
    if found is None or (
        await connection.fetchval(has_version_table, VERSION_TABLE) and await connection.fetchval(RECORDED.sql)
    ):
        return
    table = f"{found['quoted_schema']}.{VERSION_TABLE}"
    async with connection.transaction():
        await connection.execute(  # as Alembic would
            f"CREATE TABLE IF NOT EXISTS {table} "
            f"(version_num varchar(32) NOT NULL CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY)"
        )
        await connection.execute(f"INSERT INTO {table} VALUES ($1)", found["revision"])  # noqa: S608


def record_compatible_from(migration: "MigrationContext", revision: str) -> None:
    """Record `compatible_from` beside the revision, in the transaction of a migration.

    The lock for the column is taken once.
    """
    has_column = text(f"SELECT jsonb_exists(to_jsonb(v), 'compatible_from') FROM {VERSION_TABLE} AS v")  # noqa: S608
    if migration.as_sql or not (migration.connection and migration.connection.scalar(has_column)):
        migration.execute(f"ALTER TABLE {VERSION_TABLE} ADD COLUMN IF NOT EXISTS compatible_from varchar(32)")
    migration.execute(f"UPDATE {VERSION_TABLE} SET compatible_from = '{revision}'")  # noqa: S608
