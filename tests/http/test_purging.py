"""The purge by the service itself."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from adapters.clock import SystemClock
from adapters.memory import MemoryTaskRepository
from adapters.postgres import Database, PoolSettings, PostgresStorage, migrate
from application import Purge, StateExpired, TaskRepository
from application.purge import PURGE_BATCH
from entrypoints import purging
from entrypoints.storage import ReadyStorage
from hextasks.testing.contract.calls import a_task
from tests.databases import Server, migrated, patient
from tests.patience import DATABASE_TIMEOUT_SECONDS, until
from tests.services import running_service
from tests.sql import fetch

OLD = datetime.now(UTC) - timedelta(days=31)
COUNT = 2 * PURGE_BATCH + 1
FILL = (
    "INSERT INTO task_counters (user_id, value) SELECT 'user-' || n, 1000 FROM generate_series(0, 9) AS n",
    f"""
    INSERT INTO task_tombstones (user_id, task_id, version, removed_at)
    SELECT 'user-' || n % 10, gen_random_uuid(), n / 10 + 1, now() - interval '31 days'
    FROM generate_series(1, {COUNT}) AS n
    """,
    f"""
    INSERT INTO idempotency_keys (user_id, key, fingerprint, number, epoch, result, stored_at)
    SELECT 'ada', n, '', n, 1, '{{}}', now() - interval '25 hours' FROM generate_series(1, {COUNT}) AS n
    """,
)
READY = ReadyStorage(MemoryTaskRepository())
LEFT = "SELECT (SELECT count(*) FROM task_tombstones) + (SELECT count(*) FROM idempotency_keys)"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "INTERVAL_SECONDS", 0.1)


def purge(tasks: TaskRepository) -> Purge:
    return Purge(tasks=tasks, clock=SystemClock(), keep_removals=timedelta(days=30), keep_keys=timedelta(hours=24))


async def is_empty(database: Database) -> bool:
    return not (await fetch(database, LEFT))[0][0]


@pytest.mark.database
async def test_processes_purge_side_by_side_while_they_serve(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    url = await migrated(server)
    database = patient(url)
    for statement in FILL:
        await fetch(database, statement)
    with running_service(DATABASE_URL=url) as one, running_service(DATABASE_URL=url), one.client() as ada:
        await until(lambda: is_empty(database))
        assert ada.post(ada.tasks, json={"title": "Buy milk"}).status_code == 201
    assert [*(await fetch(database, "SELECT min(purged_to), max(purged_to) FROM task_counters"))[0]] != [0, 0]
    assert not [record for record in caplog.records if "purge" in record.getMessage()]
    await database.close()


@pytest.mark.database
async def test_it_begins_when_the_database_is_ready(server: Server) -> None:
    url = await server.new_database()
    database = patient(url)
    storage = PostgresStorage(url, PoolSettings(timeout=DATABASE_TIMEOUT_SECONDS), migrates=False)
    async with purging.purging(purge(storage.tasks), check=storage.check, is_quiet=lambda: True):
        await asyncio.sleep(0.5)
        await migrate(database)
        for statement in FILL:
            await fetch(database, statement)
        await until(lambda: is_empty(database))
    await storage.close()
    await database.close()


@pytest.mark.parametrize("is_quiet", [True, False])
async def test_memory_is_purged_too_and_a_busy_service_as_well(is_quiet: bool) -> None:
    tasks = MemoryTaskRepository()
    added = await tasks.add(a_task(now=OLD))
    first = (await tasks.states(["ada"]))["ada"]
    await tasks.remove("ada", added.task.id, removed_at=OLD)

    async def has_expired() -> bool:
        try:
            await tasks.changes("ada", since=first, limit=1)
        except StateExpired:
            return True
        return False

    assert not await has_expired()
    async with purging.purging(purge(tasks), check=READY.check, is_quiet=lambda: is_quiet):
        await until(has_expired)


async def test_a_busy_service_goes_on_until_nothing_old_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "BUSY_PAUSE_SECONDS", 0.01)
    tasks, left = MemoryTaskRepository(), 3
    for _ in range(left):
        added = await tasks.add(a_task(now=OLD))
        await tasks.remove("ada", added.task.id, removed_at=OLD)

    class PurgeOne(Purge):
        async def __call__(self) -> int:
            nonlocal left
            monkeypatch.setattr(purging, "INTERVAL_SECONDS", 3600.0)
            gone = await self.tasks.purge(removed_before=self.clock.now(), keys_before=self.clock.now(), limit=1)
            left -= gone
            return gone

    async def is_purged() -> bool:
        return left == 0

    once = PurgeOne(tasks=tasks, clock=SystemClock(), keep_removals=timedelta(), keep_keys=timedelta())
    async with purging.purging(once, check=READY.check, is_quiet=lambda: False):
        await until(is_purged)


async def test_a_busy_service_keeps_up_with_its_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "BUSY_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(purging, "FULL_PAUSE_SECONDS", 0.01)
    batches = [PURGE_BATCH, PURGE_BATCH, 1]

    class PurgeBatch(Purge):
        async def __call__(self) -> int:
            return batches.pop(0)

    async def is_purged() -> bool:
        return not batches

    tasks = PurgeBatch(tasks=MemoryTaskRepository(), clock=SystemClock())
    async with purging.purging(tasks, check=READY.check, is_quiet=lambda: False):
        await until(is_purged)
