"""Databases for the tests of the PostgreSQL adapter, and a token issuer."""

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.postgres import Database, PoolSettings
from tests.databases import Server, migrated
from tests.issuers import Issuer, running_issuer


@pytest.fixture
async def url(server: Server) -> str:
    """A migrated database of its own."""
    return await migrated(server)


@pytest.fixture
async def small(url: str) -> AsyncIterator[Database]:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=0.5))
    yield database
    await database.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer
