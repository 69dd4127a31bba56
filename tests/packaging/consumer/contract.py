"""The shipped contract suite on the installed adapters: `TEST_DATABASE_URL` names an empty database."""

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hextasks import MemoryTaskRepository
from hextasks.postgres import Database, EngineExecutor, PostgresTaskRepository, migrate
from hextasks.testing.contract import RepositoryContract

settings.register_profile("short", max_examples=6, deadline=None)
settings.load_profile("short")


class Contract(RepositoryContract):
    """The contract, tried on few random histories."""

    rounds = 5


class TestMemory(Contract):
    """The adapter of the bookshop's tests."""

    @pytest.fixture
    def tasks(self) -> MemoryTaskRepository:
        """Return a repository without tasks."""
        return MemoryTaskRepository()


class TestPostgres(Contract):
    """The adapter that the bookshop runs on, with the bookshop's engine."""

    @pytest.fixture
    async def tasks(self, engine: AsyncEngine) -> PostgresTaskRepository:
        """Return a repository without tasks."""
        async with engine.begin() as connection:
            await connection.execute(text("TRUNCATE tasks, task_counters, task_tombstones, idempotency_keys"))
        return PostgresTaskRepository(EngineExecutor(engine))


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[AsyncEngine]:
    """Return the engine of a migrated database."""
    url = os.environ["TEST_DATABASE_URL"]
    database = Database(url)
    await migrate(database)
    await database.close()
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    yield engine
    await engine.dispose()
