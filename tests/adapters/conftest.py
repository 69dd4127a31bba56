"""Databases for the tests of the PostgreSQL adapter."""

from collections.abc import AsyncIterator

import pytest

from adapters.postgres import Database, PoolSettings
from tests.databases import Server, migrated


@pytest.fixture
async def url(server: Server) -> str:
    """A migrated database of its own."""
    return await migrated(server)


@pytest.fixture
async def small(url: str) -> AsyncIterator[Database]:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=0.5))
    yield database
    await database.close()
