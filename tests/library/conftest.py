"""One migrated database for the tests of the library, and the caller's own ways to it."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from adapters.postgres.dsn import connect_arguments
from tests.databases import Server, migrated


def engine_on(url: str, **options: Any) -> AsyncEngine:
    """Return an engine as its owner would make it; the URL of the server may have what SQLAlchemy does not read."""

    async def connect(**_: Any) -> asyncpg.Connection:
        return await asyncpg.connect(**connect_arguments(url))

    return create_async_engine("postgresql+asyncpg://", connect_args={"async_creator_fn": connect}, **options)


@pytest.fixture(scope="session")
async def url(server: Server) -> str:
    """A database with a table of the caller's, `orders`, beside the tasks."""
    url = await migrated(server)
    connection = await asyncpg.connect(**connect_arguments(url))
    await connection.execute("CREATE TABLE orders (id text PRIMARY KEY)")
    await connection.close()
    return url


@pytest.fixture(scope="session")
async def pool(url: str) -> AsyncIterator["asyncpg.Pool[Any]"]:
    async with asyncpg.create_pool(**connect_arguments(url), min_size=1, max_size=5) as pool:
        yield pool


@pytest.fixture(scope="session")
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_on(url)
    yield engine
    await engine.dispose()
