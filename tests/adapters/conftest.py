"""Databases for the tests of the PostgreSQL adapter, and a token issuer."""

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.postgres import Database, PoolSettings
from tests.databases import Server, migrated, patient
from tests.issuers import Issuer, running_issuer


@pytest.fixture
async def url(server: Server) -> str:
    """A migrated database of its own."""
    return await migrated(server)


@pytest.fixture
async def empty_url(server: Server) -> str:
    """A database of its own, without a schema."""
    return await server.new_database()


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    database = patient(empty_url)
    yield database
    await database.close()


@pytest.fixture
async def small(url: str) -> AsyncIterator[Database]:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=0.5))
    yield database
    await database.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer
