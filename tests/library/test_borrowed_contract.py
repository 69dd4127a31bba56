"""The contract of the TaskRepository port over databases that the caller has opened."""

from collections.abc import AsyncIterator
from json import dumps, loads
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import PostgresTaskRepository
from adapters.postgres.borrowed import EngineExecutor, PoolExecutor, TransactionExecutor
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.tables import metadata
from application import TaskRepository
from hextasks.testing import contract
from tests.databases import Server, migrated
from tests.library.conftest import engine_on
from tests.patience import DATABASE_TIMEOUT_SECONDS as TIMEOUT

pytestmark = [pytest.mark.database, pytest.mark.unmeasured]
SCHEMA = "elsewhere"


@pytest.fixture(scope="module")
async def url(server: Server) -> str:
    """A database whose tables are where no search path finds them."""
    url = await migrated(server)
    connection = await asyncpg.connect(**connect_arguments(url))
    await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in metadata.tables:
        await connection.execute(f"ALTER TABLE {table} SET SCHEMA {SCHEMA}")
    await connection.close()
    return url


@pytest.fixture(scope="module")
async def pool(url: str) -> AsyncIterator["asyncpg.Pool[Any]"]:
    """A pool as for a pooler that keeps no prepared statements, whose owner wants JSON decoded."""

    async def decode_json(connection: asyncpg.Connection) -> None:
        for kind in ("json", "jsonb"):
            await connection.set_type_codec(kind, encoder=dumps, decoder=loads, schema="pg_catalog")

    arguments = {**connect_arguments(url), "statement_cache_size": 0, "init": decode_json}
    async with asyncpg.create_pool(**arguments, min_size=1, max_size=5) as pool:
        yield pool


@pytest.fixture(scope="module")
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_on(url)
    yield engine
    await engine.dispose()


@pytest.fixture(params=["pool", "engine", "transaction"])
async def tasks(
    request: pytest.FixtureRequest, pool: "asyncpg.Pool[Any]", engine: AsyncEngine
) -> AsyncIterator[TaskRepository]:
    await pool.execute(";".join(f"DELETE FROM {SCHEMA}.{table}" for table in metadata.tables))
    match request.param:
        case "pool":
            yield PostgresTaskRepository(PoolExecutor(pool, timeout=TIMEOUT, schema=SCHEMA))
        case "engine":
            yield PostgresTaskRepository(EngineExecutor(engine, timeout=TIMEOUT, schema=SCHEMA))
        case "transaction":
            async with engine.connect() as connection:
                executor = TransactionExecutor(connection, timeout=TIMEOUT, schema=SCHEMA)
                yield PostgresTaskRepository(executor, coalescing=None)


class TestBorrowed(contract.ShortContract):
    pass
