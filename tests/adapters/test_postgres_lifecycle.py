"""What the service requires of a database, and how it reports a database that does not comply."""

import asyncio
import logging

import pytest

from adapters.postgres import DatabaseNotReady, PoolSettings, PostgresStorage, migrate
from application import StorageUnavailable, TaskNotFound
from hextasks.testing.contract.calls import a_task
from tests.databases import Server, patient
from tests.patience import DATABASE_TIMEOUT_SECONDS

pytestmark = pytest.mark.database


async def test_an_empty_database_is_migrated_if_so_configured(server: Server) -> None:
    patience = PoolSettings(timeout=DATABASE_TIMEOUT_SECONDS)
    storage = PostgresStorage(await server.new_database(), patience, migrates=True)
    await storage.ping()
    found = await storage.examine()
    assert found.encoding == "UTF8"
    assert found.schema
    assert found.schema.is_current
    assert found.grants == ()
    with pytest.raises(TaskNotFound):
        await storage.tasks.get("ada", a_task().id)
    async with storage.database.connection() as connection:
        await connection.execute("UPDATE hextasks_version SET version_num = '9999'")
    await storage.check()  # does not examine it again
    await storage.close()


async def test_otherwise_it_is_unavailable_until_it_is_migrated(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    url = await server.new_database()
    storage = PostgresStorage(url, migrates=False)
    with pytest.raises(DatabaseNotReady, match="hextasks migrate"):
        await storage.start()
    with pytest.raises(StorageUnavailable):
        await storage.check()
    (record,) = caplog.records
    assert (record.levelno, "hextasks migrate" in record.getMessage()) == (logging.WARNING, True)
    database = patient(url)
    await migrate(database)
    await database.close()
    await storage.check()
    await storage.ping()
    await storage.close()


async def test_concurrent_checks_share_one_that_is_bounded_in_time(server: Server) -> None:
    url = await server.new_database()
    storage = PostgresStorage(url, PoolSettings(timeout=DATABASE_TIMEOUT_SECONDS), migrates=True)
    await storage.start()
    fresh = PostgresStorage(url, PoolSettings(timeout=0.5), migrates=True)
    async with storage.database.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE hextasks_version")  # as if the server had stopped responding
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(*(fresh.check() for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * 3
    await fresh.check()
    await fresh.close()
    await storage.close()


async def test_another_encoding_is_rejected(server: Server) -> None:
    storage = PostgresStorage(await server.new_database(encoding="SQL_ASCII"), migrates=True)
    with pytest.raises(DatabaseNotReady, match="SQL_ASCII"):
        await storage.start()
    await storage.close()
