"""Observers learn of each statement at its end, once, whatever its outcome."""

import asyncio
from time import perf_counter

import asyncpg
import pytest

from adapters.postgres import Database, PoolSettings, Statement
from application import StorageUnavailable

pytestmark = pytest.mark.database

NOW = Statement(name="now", sql="SELECT 1", is_read=True)
BROKEN = Statement(name="broken", sql="SELECT 1 / 0")
SLOW = Statement(name="slow", sql="SELECT pg_sleep(30)")
END = Statement(name="end", sql="SELECT pg_terminate_backend(pg_backend_pid())", is_read=True)


class Noted(list[tuple[str, type[BaseException] | None]]):
    def finished(self, statement: Statement, started: float, error: BaseException | None) -> None:
        assert 0 < perf_counter() - started < 30
        self.append((statement.name, type(error) if error else None))


async def test_each_statement_is_observed_once(server_url: str) -> None:
    noted, more = Noted(), Noted()
    database = Database(server_url, PoolSettings(size=1, max_overflow=0, timeout=20), observers=(noted, more))
    await database.fetch(NOW)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await database.fetch(BROKEN)
    with pytest.raises(StorageUnavailable):
        await database.fetch(SLOW, deadline=asyncio.get_running_loop().time() + 0.5)
    with pytest.raises(StorageUnavailable):
        await database.fetch(END)  # which runs twice
    async with database.connection():
        waiting = asyncio.create_task(database.fetch(NOW))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    await database.close()
    assert noted == more
    assert noted == [
        ("now", None),
        ("broken", asyncpg.DivisionByZeroError),
        ("slow", StorageUnavailable),
        ("end", StorageUnavailable),
        ("now", asyncio.CancelledError),
    ]
