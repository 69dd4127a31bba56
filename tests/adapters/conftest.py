"""Databases for the tests of the PostgreSQL adapter, and a token issuer."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from adapters.postgres import Database, PoolSettings
from adapters.postgres.dsn import connect_arguments
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
async def owner(empty_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**connect_arguments(empty_url))
    yield connection
    await connection.close()


@pytest.fixture
async def restricted_url(empty_url: str, owner: asyncpg.Connection) -> AsyncIterator[str]:
    """The URL of a role without privileges; its name needs quotation marks."""
    role = f"Service-{uuid4().hex[:8]}"
    await owner.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'secret'")
    parts = urlsplit(empty_url)
    yield parts._replace(netloc=f"{role}:secret@{parts.netloc.rpartition('@')[2]}").geturl()
    await owner.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')


@pytest.fixture
async def small(url: str) -> AsyncIterator[Database]:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=1.0))
    yield database
    await database.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer
