"""Alembic's entry point: runs the migrations on a given connection, or on the database of DATABASE_URL."""

import asyncio
import os

import asyncpg
from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text

from adapters.postgres.dsn import connect_arguments
from adapters.postgres.migrations import LOCK_TIMEOUT_SECONDS
from adapters.postgres.tables import metadata
from adapters.postgres.upgrade import LOCK_KEY, sqlalchemy_connection


def run(connection: Connection) -> None:
    """Run the alembic command in one transaction, under a lock that other migrating processes wait for."""
    timeout = context.config.attributes.get("lock_timeout", LOCK_TIMEOUT_SECONDS)
    with connection.begin():
        connection.execute(text(f"SET LOCAL lock_timeout = {max(1, int(timeout * 1000))}"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        context.configure(connection=connection, target_metadata=metadata)
        context.run_migrations()


async def run_on_database_of_environment() -> None:
    """Run it on the database of DATABASE_URL, which the `alembic` command reads from the environment only."""
    if not (url := os.environ.get("DATABASE_URL")):
        raise CommandError(
            "set DATABASE_URL in the environment. For .env or the embedded PostgreSQL run: hextasks migrate"
        )
    try:
        arguments = connect_arguments(url)
    except ValueError as error:
        raise CommandError(f"DATABASE_URL: {error}") from None
    async with sqlalchemy_connection(lambda: asyncpg.connect(**arguments)) as connection:
        await connection.run_sync(run)


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    context.run_migrations()
elif connection := context.config.attributes.get("connection"):
    run(connection)
else:
    asyncio.run(run_on_database_of_environment())
