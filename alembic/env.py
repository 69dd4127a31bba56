"""Alembic's entry point: runs the migrations on a given connection, or on the database of DATABASE_URL.

The `alembic` command reads DATABASE_URL and DATABASE_SCHEMA from the environment only.
"""

import asyncio
import os
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection

from adapters.postgres.database import Database
from adapters.postgres.migration_session import migration_session
from adapters.postgres.migrations import DatabaseNotReady
from adapters.postgres.tables import SCHEMA_RULE, TABLES, VERSION_TABLE, is_schema_name, metadata
from adapters.postgres.version_table import record_compatible_from


def record(*, ctx: MigrationContext, heads: set[str], **_: object) -> None:
    """Record the oldest revision whose release works on the schema, in the transaction of each migration."""
    for head in heads:
        record_compatible_from(ctx, context.script.get_revision(head).module.compatible_from)


OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "version_table": VERSION_TABLE,
    # CREATE INDEX CONCURRENTLY runs in none, and a lock on one table must not be kept while the next is waited for.
    "transaction_per_migration": True,
    "on_version_apply": record,
    # Other tables beside ours are the host's.
    "include_name": lambda name, kind, _: kind != "table" or name in TABLES,
}


def run(connection: Connection) -> None:
    """Run the alembic command on a connection."""
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def schema_of_environment() -> str | None:
    """Return the schema that DATABASE_SCHEMA names, if any. Raises CommandError for a bad name."""
    schema = os.environ.get("DATABASE_SCHEMA") or None
    if schema and not is_schema_name(schema):
        raise CommandError(f"DATABASE_SCHEMA {SCHEMA_RULE}")
    return schema


def print_sql() -> None:
    """Print the statements of the command instead of running them (`--sql`)."""
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    if schema := schema_of_environment():
        context.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        context.execute(f'SET search_path = "{schema}"')
    with context.begin_transaction():
        context.run_migrations()


async def run_on_database_of_environment() -> None:
    """Run the alembic command on the database of DATABASE_URL, in the schema of DATABASE_SCHEMA."""
    if not (url := os.environ.get("DATABASE_URL")):
        raise CommandError(
            "set DATABASE_URL in the environment. For .env or the embedded PostgreSQL run: hextasks migrate"
        )
    schema = schema_of_environment()
    try:
        database = Database(url, schema=schema)
    except ValueError as error:
        raise CommandError(f"DATABASE_URL: {error}") from None
    try:
        async with migration_session(database) as session:
            await session.run_sync(run)
    except DatabaseNotReady as error:
        raise CommandError(str(error)) from None
    finally:
        await database.close()


if context.is_offline_mode():
    print_sql()
elif connection := context.config.attributes.get("connection"):
    run(connection)
else:
    asyncio.run(run_on_database_of_environment())
