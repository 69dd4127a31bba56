"""The shipped contract suite on the installed adapters: `TEST_DATABASE_URL` names an empty database."""

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from hextasks import MemoryTaskRepository
from hextasks.postgres import Database, PoolSettings, PostgresTaskRepository, migrate
from hextasks.testing.contract import RepositoryContract

settings.register_profile("short", max_examples=3, deadline=None)
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
    """The adapter that the bookshop runs on."""

    @pytest.fixture
    async def tasks(self, database: Database) -> PostgresTaskRepository:
        """Return a repository without tasks."""
        async with database.connection() as connection:
            for table in ("tasks", "task_counters", "task_tombstones", "idempotency_keys"):
                await connection.execute(f"DELETE FROM {table}")  # pyright: ignore[reportUnknownMemberType]  # of asyncpg
        return PostgresTaskRepository(database)


@pytest.fixture(scope="session")
async def database() -> AsyncIterator[Database]:
    """Return a migrated database."""
    database = Database(os.environ["TEST_DATABASE_URL"], PoolSettings(timeout=15))
    await migrate(database)
    yield database
    await database.close()
