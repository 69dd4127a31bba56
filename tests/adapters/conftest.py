"""Databases for the tests of the PostgreSQL adapter."""

from collections.abc import AsyncIterator

import pytest

from adapters.postgres import Database, PoolSettings, migrate
from tests.databases import Server, patient


@pytest.fixture
async def url(server: Server) -> str:
    """A migrated database of its own."""
    url = await server.new_database()
    database = patient(url)
    await migrate(database)
    await database.close()
    return url


@pytest.fixture
async def small(url: str) -> AsyncIterator[Database]:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=0.5))
    yield database
    await database.close()
