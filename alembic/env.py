"""Alembic's entry point: runs the migrations on a given connection, or on the database of DATABASE_URL."""

import asyncio
import os

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection

from adapters.postgres.database import Database
from adapters.postgres.migration_session import migration_session
from adapters.postgres.tables import metadata


def run(connection: Connection) -> None:
    """Run the alembic command on a connection, each migration in a transaction of its own.

    CREATE INDEX CONCURRENTLY runs in none, and a lock on one table must not be kept while the next is waited for.
    """
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_on_database_of_environment() -> None:
    """Run it on the database of DATABASE_URL, which the `alembic` command reads from the environment only."""
    if not (url := os.environ.get("DATABASE_URL")):
        raise CommandError(
            "set DATABASE_URL in the environment. For .env or the embedded PostgreSQL run: hextasks migrate"
        )
    try:
        database = Database(url)
    except ValueError as error:
        raise CommandError(f"DATABASE_URL: {error}") from None
    try:
        async with migration_session(database) as session:
            await session.run_sync(run)
    finally:
        await database.close()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    context.run_migrations()
elif connection := context.config.attributes.get("connection"):
    run(connection)
else:
    asyncio.run(run_on_database_of_environment())
