"""The watch over a migration: which sessions it ends, examination by examination."""

import asyncio

import pytest

from adapters.postgres import Database, migration_watch
from adapters.postgres.migration_watch import Watch
from application import StorageUnavailable
from tests.patience import DEADLINE_SECONDS, until

pytestmark = [pytest.mark.database, pytest.mark.waits]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_watch, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(migration_watch, "SILENCE_SECONDS", 1.0)


async def test_a_migration_that_has_closed_its_session_does_not_count_as_lost(empty: Database) -> None:
    """As after the time limit of a lock, for which the migration is tried again."""
    connection = await empty.connect()
    watch = Watch(empty, connection)
    await watch.begin()
    connection.terminate()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await watch._run()
    assert not watch.has_lost


async def test_a_suspension_during_an_examination_is_no_silence(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await empty.connect()
    watch = Watch(empty, connection)
    await watch.begin()
    examine, examinations = watch.examine, 0

    async def examine_suspended_once() -> bool:
        nonlocal examinations
        examinations += 1
        if examinations == 1:
            await asyncio.sleep(1.2 * migration_watch.SILENCE_SECONDS)
            raise StorageUnavailable
        await connection.execute("SELECT")
        return await examine()

    async def has_gone_on() -> bool:
        return examinations > 3

    monkeypatch.setattr(watch, "examine", examine_suspended_once)
    async with watch.running():
        await until(has_gone_on, DEADLINE_SECONDS)
    assert not watch.has_lost
    connection.terminate()


async def test_a_session_that_goes_on_after_a_suspension_is_not_ended(empty: Database) -> None:
    connection = await empty.connect()
    watch = Watch(empty, connection)
    await watch.begin()
    for _ in range(2):
        await asyncio.sleep(1.2 * migration_watch.SILENCE_SECONDS)
        assert await watch.examine()
        assert await connection.fetchval("SELECT true")
        assert await watch.examine()

    async def has_ended() -> bool:
        return not await watch.examine()

    await until(has_ended, DEADLINE_SECONDS)
    connection.terminate()
