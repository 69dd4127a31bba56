"""`hextasks distribute`, on a PostgreSQL that has the names of Citus which it uses, and records what they are given.

`pytest -p tests.citus` runs the other tests on Citus itself, on databases that were distributed so.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres import Database, DatabaseNotReady, Distribution, PostgresStorage, distribute, migrate
from adapters.postgres.migrations import newest_revision
from adapters.postgres.shared_statements import shared_statements
from adapters.postgres.tables import metadata
from hextasks.testing.contract.calls import a_task, add
from tests.citus import IS_USED
from tests.cli.processes import command
from tests.databases import Server, migrated, patient
from tests.sql import fetch

pytestmark = [pytest.mark.database, pytest.mark.skipif(IS_USED, reason="Citus is there already")]

CITUS = """
    SET allow_system_table_mods = on;
    SET search_path = pg_catalog;
    DROP TABLE IF EXISTS pg_dist_partition, pg_dist_shard, pg_dist_placement;
    DROP FUNCTION IF EXISTS column_to_column_name, create_distributed_table;
    DROP FUNCTION IF EXISTS truncate_local_data_after_distributing_table;
    CREATE TABLE pg_dist_partition (logicalrelid regclass, partkey text, colocationid int);
    CREATE TABLE pg_dist_shard (logicalrelid regclass, shardid bigint);
    CREATE TABLE pg_dist_placement (shardid bigint, groupid int);
    INSERT INTO pg_dist_placement SELECT n, n % 2 FROM generate_series(1, 32) AS n;
    CREATE FUNCTION column_to_column_name(regclass, text) RETURNS text LANGUAGE sql AS 'SELECT $2';
    CREATE FUNCTION truncate_local_data_after_distributing_table(regclass) RETURNS void LANGUAGE sql AS '';
    CREATE FUNCTION create_distributed_table(name regclass, key text, colocate_with text) RETURNS void
    LANGUAGE plpgsql AS $$
    BEGIN
        ASSERT NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = name), 'distributed already';
        INSERT INTO pg_dist_partition SELECT name, key, CASE colocate_with
            WHEN 'none' THEN (SELECT count(*) + 1 FROM pg_dist_partition)
            ELSE (SELECT colocationid FROM pg_dist_partition WHERE logicalrelid = colocate_with::regclass) END;
        INSERT INTO pg_dist_shard SELECT name, n FROM generate_series(1, 32) AS n;
    END $$;
"""


@pytest.fixture(scope="module")
async def url(server: Server) -> str:
    return await migrated(server)


@pytest.fixture
async def cluster(url: str) -> AsyncIterator[Database]:
    database = patient(url)
    async with database.connection() as connection:
        await connection.execute(CITUS)
    await database.close()
    yield database
    await database.close()


async def recorded(database: Database) -> list[tuple[Any, ...]]:
    rows = await fetch(database, "SELECT logicalrelid::text, partkey, colocationid FROM pg_dist_partition ORDER BY 1")
    return [tuple(row) for row in rows]


async def test_all_tables_are_colocated_by_user_however_often_it_runs(cluster: Database) -> None:
    assert set(await asyncio.gather(distribute(cluster), distribute(cluster))) == {Distribution(shards=32, nodes=2)}
    assert str(await distribute(cluster)) == "32 shards on 2 nodes"
    assert await recorded(cluster) == [(table, "user_id", 1) for table in sorted(metadata.tables)]


async def test_the_tables_of_a_schema(url: str, cluster: Database) -> None:
    database = patient(url, "other")
    await migrate(database)
    await distribute(database)
    assert {table for table, *_ in await recorded(cluster)} == {f"other.{table}" for table in metadata.tables}
    await database.close()


async def test_a_table_that_a_later_release_adds(url: str, cluster: Database) -> None:
    await distribute(cluster)
    await fetch(cluster, "DELETE FROM pg_dist_partition WHERE logicalrelid = 'idempotency_keys'::regclass")
    with pytest.raises(DatabaseNotReady, match="hextasks distribute"):
        await mixes_users(url)
    assert not (await distribute(cluster)).missing
    assert not await mixes_users(url)
    assert await recorded(cluster) == [(table, "user_id", 1) for table in sorted(metadata.tables)]


async def mixes_users(url: str) -> bool:
    """Return whether a service on a database sends statements for several users."""
    storage, sent = PostgresStorage(url, migrates=False), set()
    try:
        await storage.start()
        async with storage.database.connection() as connection:
            connection.add_query_logger(lambda query: sent.add(query.query))
        for _ in range(2):  # the first write of a user runs alone
            await asyncio.gather(*(add(storage.tasks, a_task(user_id=user)) for user in ("ada", "grace")))
    finally:
        await storage.close()
    return shared_statements(one_user=False).add.sql in sent


async def test_a_service_sends_no_statements_for_several_users(url: str, cluster: Database, tmp_path: Path) -> None:
    assert await mixes_users(url)
    ran = command("distribute", cwd=tmp_path, DATABASE_URL=url)
    assert (ran.returncode, ran.stdout) == (0, "the tables are distributed by user: 32 shards on 2 nodes\n")
    assert not await mixes_users(url)
    found = "distributed 32 shards on 2 nodes; calls that share statements: those of one user"
    assert found in command("doctor", cwd=tmp_path, DATABASE_URL=url).stdout


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM pg_dist_partition WHERE logicalrelid = 'task_counters'::regclass", "distributed in another way"),
        ("UPDATE pg_dist_partition SET partkey = 'id' WHERE logicalrelid = 'tasks'::regclass", "in another way"),
        ("UPDATE pg_dist_partition SET colocationid = 9 WHERE logicalrelid = 'tasks'::regclass", "in another way"),
        ("UPDATE hextasks_version SET version_num = '0003'", "Run: hextasks migrate"),
    ],
)
async def test_it_refuses(url: str, cluster: Database, change: str, reason: str) -> None:
    await distribute(cluster)
    await fetch(cluster, change)
    with pytest.raises(DatabaseNotReady, match=reason):
        await distribute(cluster)
    await fetch(cluster, "UPDATE hextasks_version SET version_num = $1", newest_revision())


async def test_it_needs_citus(database: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotReady, match="not in a Citus cluster"):
        await distribute(database)
    assert "memory:// has no nodes" in command("distribute", cwd=tmp_path, DATABASE_URL="memory://").stderr
