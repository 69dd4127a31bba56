"""`hextasks purge | restored`."""

from pathlib import Path

import pytest

from adapters.postgres import Database
from tests.cli.processes import command, said
from tests.databases import Server, migrated, patient
from tests.sql import fetch

pytestmark = pytest.mark.database
REMOVALS = """
    INSERT INTO task_tombstones (user_id, task_id, version, removed_at)
    SELECT 'ada', gen_random_uuid(), n, now() - n * interval '1 hour' FROM generate_series(1, 2500) AS n
"""
KEYS = """
    INSERT INTO idempotency_keys (user_id, key, fingerprint, number, epoch, result, stored_at)
    SELECT 'ada', n, '', n, 1, '{}', now() - n * interval '1 minute' - interval '5 minutes'
    FROM generate_series(1, 2500) AS n
"""
USERS = "INSERT INTO task_counters (user_id, value) SELECT 'user-' || n, n FROM generate_series(1, 2500) AS n"
SECRET = "a secret that is thirty-two bytes"


@pytest.fixture
async def url(server: Server) -> str:
    return await migrated(server)


async def filled(url: str, *statements: str) -> Database:
    database = patient(url)
    for statement in statements:
        await fetch(database, statement)
    return database


async def test_purge_deletes_what_is_older_than_it_is_kept(tmp_path: Path, url: str) -> None:
    counter = "INSERT INTO task_counters (user_id, value) VALUES ('ada', 9999)"
    database = await filled(url, counter, REMOVALS, KEYS)
    days, hours = 30 * 24, 24 * 60 - 5
    purged = command("purge", cwd=tmp_path, DATABASE_URL=url)
    count = 2500 - days + 1 + 2500 - hours + 1
    assert (purged.returncode, purged.stdout) == (0, f"purged {count} deletions and idempotency keys\n")
    assert len(await fetch(database, "SELECT FROM task_tombstones")) == days - 1
    assert len(await fetch(database, "SELECT FROM idempotency_keys")) == hours - 1
    assert (await fetch(database, "SELECT purged_to FROM task_counters"))[0][0] == 2500

    settings = {"DATABASE_URL": url, "TOMBSTONE_DAYS": "1", "IDEMPOTENCY_HOURS": "1"}
    assert command("purge", cwd=tmp_path, **settings).returncode == 0
    assert len(await fetch(database, "SELECT FROM task_tombstones")) == 23
    assert len(await fetch(database, "SELECT FROM idempotency_keys")) == 54
    assert command("purge", cwd=tmp_path, **settings).stdout.startswith("purged 0 ")
    await database.close()


async def test_restored_gives_each_user_a_new_epoch_and_moves_the_counters_forward(tmp_path: Path, url: str) -> None:
    database = await filled(url, USERS)
    rows = "SELECT user_id, epoch, value FROM task_counters ORDER BY user_id"
    before = await fetch(database, rows)
    for n in (1, 2):
        restored = command("restored", cwd=tmp_path, DATABASE_URL=url)
        assert (restored.returncode, restored.stdout) == (0, "the sync tokens of 2500 users have expired\n")
        after = await fetch(database, rows)
        assert [row["value"] for row in after] == [row["value"] + n * 2**32 for row in before]
        epochs = {row["epoch"] for row in before} | {row["epoch"] for row in after}
        assert len(epochs) == 5000
        assert all(0 < epoch < 2**48 for epoch in epochs)
    await database.close()


@pytest.mark.parametrize("arguments", ["purge", "restored", "import ada /dev/null", "forget ada --yes"])
async def test_they_need_a_migrated_database(tmp_path: Path, server: Server, arguments: str) -> None:
    settings = {"ENVIRONMENT": "production", "DATABASE_URL": await server.new_database(), "JWT_SECRET": SECRET}
    rejected = command(*arguments.split(), cwd=tmp_path, **settings)
    assert rejected.returncode == 1
    assert "hextasks migrate" in said(rejected)
    rejected = command(*arguments.split(), cwd=tmp_path, DATABASE_URL="memory://")
    assert rejected.returncode == 1
    assert "memory://" in said(rejected)
