"""Alembic's entry: runs the migrations on a connection that it is given, or on the configured database."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from adapters.postgres.migrations import LOCK_KEY, LOCK_TIMEOUT_SECONDS, sqlalchemy_connection
from adapters.postgres.tables import metadata


def run(connection: Connection) -> None:
    """Do what alembic was asked to in one transaction, alone: whoever else migrates waits for the lock."""
    timeout = context.config.attributes.get("lock_timeout", LOCK_TIMEOUT_SECONDS)
    with connection.begin():
        connection.execute(text(f"SET LOCAL lock_timeout = {max(1, int(timeout * 1000))}"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        context.configure(connection=connection, target_metadata=metadata)
        context.run_migrations()


async def run_on_configured_database() -> None:
    """Do it on the database of the settings, which starts the embedded one where none is named."""
    from entrypoints.settings import Settings
    from entrypoints.start import prepared
    from entrypoints.storage import PostgresStorage

    with prepared(Settings.load()) as settings:
        async with sqlalchemy_connection(PostgresStorage(settings).database.connect) as connection:
            await connection.run_sync(run)


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    context.run_migrations()
elif connection := context.config.attributes.get("connection"):
    run(connection)
else:
    asyncio.run(run_on_configured_database())
