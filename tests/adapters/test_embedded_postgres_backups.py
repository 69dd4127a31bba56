"""Dumps of a database and their restore: complete or not at all."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.embedded_postgres import EmbeddedPostgresError, dump, has_tables, restore
from adapters.postgres import RENEW_RESTORED, Database, PostgresTaskRepository
from hextasks.testing.contract.moving import some_tasks
from tests.databases import Server, migrated, patient
from tests.sql import fetch

pytestmark = pytest.mark.database
ROWS = "SELECT * FROM tasks ORDER BY id"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def filled(server: Server, count: int) -> tuple[str, Database]:
    url = await migrated(server)
    database = patient(url)
    for task in some_tasks(count):
        await PostgresTaskRepository(database).add(task)
    return url, database


async def counter(database: Database) -> Any:
    return (await fetch(database, "SELECT value, epoch FROM task_counters"))[0]


async def test_a_restored_database_is_the_dumped_one_in_new_epochs(server: Server, tmp_path: Path) -> None:
    (source_url, source), (url, target) = await filled(server, 20), await filled(server, 3)
    dump(source_url, tmp_path / "dump")
    dumped, (value, epoch) = await fetch(source, ROWS), await counter(source)
    await fetch(target, "CREATE TABLE public.of_a_newer_version ()")
    await fetch(target, "CREATE SCHEMA other")
    restore(url, tmp_path / "dump", finish=RENEW_RESTORED)
    assert await fetch(target, ROWS) == dumped
    assert (await counter(target))[0] == value + 2**32
    assert (await counter(target))[1] != epoch
    left = "SELECT to_regclass('of_a_newer_version') IS NULL AND to_regnamespace('other') IS NULL"
    assert (await fetch(target, left))[0][0]
    await PostgresTaskRepository(target).add(some_tasks(1)[0])
    assert has_tables(url)
    assert not has_tables(await server.new_database())
    await source.close()
    await target.close()


async def test_a_damaged_dump_changes_nothing(server: Server, tmp_path: Path) -> None:
    url, database = await filled(server, 20)
    path = tmp_path / "dump"
    dump(url, path)
    await PostgresTaskRepository(database).add(some_tasks(1)[0])
    before, state = await fetch(database, ROWS), await counter(database)
    whole, script = path.read_bytes(), gzip.decompress(path.read_bytes())
    middle = len(whole) // 2
    damaged = {
        "damaged, or no backup": (
            *(whole[:-1], whole[:middle], whole[:middle] + b"xxxx" + whole[middle + 4 :], b"PGDMP"),
        ),
        "no backup of hextasks": (gzip.compress(b"CREATE TABLE public.other ();"), b""),
        "ERROR": (gzip.compress(script[: len(script) // 2] + b"\n\\.\n1/0;"), gzip.compress(script + b"SELECT 1/0;")),
    }
    calls = b"\\! touch " + bytes(tmp_path / "called") + b"\n"
    damaged["backslash commands are restricted"] = tuple(
        gzip.compress(hostile)
        for hostile in (calls, script + calls, b"\\unrestrict x\n" + calls, b"x" * 65_536 + b"\n" + calls)
    )
    for reason, contents in damaged.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(EmbeddedPostgresError, match=reason):
                restore(url, path, finish=RENEW_RESTORED)
            assert (await fetch(database, ROWS), await counter(database)) == (before, state)
    assert names(tmp_path) == {"dump"}
    await database.close()


def test_a_dump_that_fails_keeps_the_one_before(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text("the one before")
    with pytest.raises(EmbeddedPostgresError, match='database "missing" does not exist'):
        dump(server.url.replace("/postgres?", "/missing?"), path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("dump", "the one before")]


def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path, Path()):
        with pytest.raises(OSError, match="not a regular file"):
            dump("postgresql://", path)
    assert names(tmp_path) == {"link", "pipe"}
