"""The session that distributes tables. `adapters.postgres.distribution` loads this module when it does."""

import asyncio
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.database import Database
from adapters.postgres.distribution import Distribution, distribution, tables_of
from adapters.postgres.migration_session import migration_session

CREATE = "create_distributed_table($1::text::regclass, 'user_id', colocate_with => $2)"
TRUNCATE = "truncate_local_data_after_distributing_table($1::text::regclass)"
LOCK_WAIT_MILLISECONDS = 300
"""Less than the second after which PostgreSQL looks for deadlocks, and ends one of the statements."""
LOCK_ATTEMPTS = 30
LOCK_PAUSE_SECONDS = 0.1


async def distribute_tables(database: Database) -> Distribution:
    """Distribute the tables that are not yet, under the migration lock, and delete the rows outside of shards."""
    tables = tables_of(database)
    async with migration_session(database) as session:
        found = await distribution(database)
        if missing := found.missing if found else tables:
            async with session.begin():
                await _lock(session, missing)
                for table in missing:
                    await _call(session, CREATE, table, "none" if table == tables[0] else tables[0])
        for table in tables:
            async with session.begin():
                await _call(session, TRUNCATE, table)
        found = await distribution(database)
    assert found is not None, "Citus reported success"  # noqa: S101
    return found


async def _call(session: AsyncConnection, function: str, *arguments: str) -> None:
    await session.exec_driver_sql(f"SELECT {function}", arguments)


async def _lock(session: AsyncConnection, tables: Sequence[str]) -> None:
    """Lock all tables. Statements of the service lock them in various orders, so that a wait may be a deadlock."""
    await session.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MILLISECONDS}")
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            async with session.begin_nested():  # whose end releases the locks, if one of them is not granted
                await session.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
        except DBAPIError:
            if attempt == LOCK_ATTEMPTS:
                raise
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        else:
            return
