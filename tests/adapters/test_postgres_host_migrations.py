"""Our revisions beside those of others: a host's Alembic, and releases that kept theirs in Alembic's own table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.postgres import Database, PostgresTaskRepository, migrate, schema_state
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.migrations import newest_revision
from hextasks.testing.contract.calls import a_task, add
from tests.adapters.test_postgres_migrations import alembic, relations
from tests.databases import patient
from tests.sql import fetch

pytestmark = pytest.mark.database
ENV = """
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table

from hextasks.postgres import TABLES

metadata = MetaData()
Table("customers", metadata, Column("id", Integer, primary_key=True), Column("age", Integer))
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
    include_name=lambda name, kind, parents: not ({excluded}),
)
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
from alembic import op

revision, down_revision = {revision!r}, {before!r}

def upgrade():
    op.execute({up!r})

def downgrade():
    op.execute({down!r})
"""
THEIRS = "SELECT tableoid, xmin, version_num FROM public.alembic_version"


class Host:
    """An application with a database of its own, and with revisions that have the same numbers as ours."""

    def __init__(self, folder: Path, url: str, schema: str | None) -> None:
        versions = folder / "versions"
        versions.mkdir()
        excluded = f"kind == 'schema' and name == {schema!r}" if schema else "kind == 'table' and name in TABLES"
        (folder / "env.py").write_text(ENV.format(excluded=excluded))
        first, second = "CREATE TABLE customers (id serial PRIMARY KEY)", "ALTER TABLE customers ADD age int"
        for revision, before, up, down in (
            ("0001", None, first, "DROP TABLE customers"),
            ("0002", "0001", second, "ALTER TABLE customers DROP age"),
        ):
            text = REVISION.format(revision=revision, before=before, up=up, down=down)
            (versions / f"{revision}.py").write_text(text)
        self._folder = folder

        async def connect() -> asyncpg.Connection:
            return await asyncpg.connect(**connect_arguments(url))

        self._engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)

    async def alembic(self, run: Callable[..., Any], *arguments: str) -> None:
        async with self._engine.begin() as connection:
            await connection.run_sync(lambda sync: run(self._config(sync), *arguments))
        await self._engine.dispose()

    def _config(self, connection: Any) -> Config:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(self._folder))
        return config


@pytest.mark.unmeasured
@pytest.mark.parametrize("schema", [None, "hextasks"])
@pytest.mark.parametrize("is_first", [True, False], ids=["the host first", "hextasks first"])
async def test_a_host_migrates_up_and_down_beside_us(
    empty_url: str, tmp_path: Path, schema: str | None, is_first: bool
) -> None:
    host, ours = Host(tmp_path, empty_url, schema), patient(empty_url, schema)
    if is_first:
        await host.alembic(command.upgrade, "0001")
        theirs = await fetch(ours, THEIRS)
        await migrate(ours)
        assert await fetch(ours, THEIRS) == theirs
    else:
        await migrate(ours)
        await host.alembic(command.upgrade, "0001")
    tasks = PostgresTaskRepository(ours)
    task = await add(tasks, a_task())
    with pytest.raises(CommandError, match="not up to date"):
        await host.alembic(command.check)
    await host.alembic(command.upgrade, "head")
    await host.alembic(command.check)
    await alembic(ours, command.check)
    await host.alembic(command.downgrade, "base")
    assert await tasks.get("ada", task.id) == task
    assert str(await migrate(ours)).startswith("already at")

    await host.alembic(command.upgrade, "head")
    theirs = await fetch(ours, THEIRS)
    await alembic(ours, command.downgrade, "base")
    assert (await schema_state(ours)).current is None
    await migrate(ours)
    await alembic(ours, command.check)
    await host.alembic(command.check)
    assert await fetch(ours, THEIRS) == theirs
    assert [*theirs[0]][2] == "0002"
    await ours.close()


async def test_the_version_table_of_a_host_is_not_even_read(
    empty_url: str, empty: Database, restricted_url: str
) -> None:
    """Its owner is another role, which has granted nothing."""
    role = urlsplit(restricted_url).username
    async with empty.connection() as connection:
        await connection.execute("CREATE TABLE alembic_version AS SELECT '0004'::varchar(32) AS version_num")
        await connection.execute(f'GRANT CREATE ON SCHEMA public TO "{role}"')
    before = await fetch(empty, THEIRS)
    ours = patient(restricted_url)
    await migrate(ours)
    assert (await schema_state(ours)).is_current
    await ours.close()
    assert await fetch(empty, THEIRS) == before


async def of_an_earlier_release(database: Database, revision: str) -> None:
    """Make what a release made that kept its revision in Alembic's own table."""
    await alembic(database, command.upgrade, revision)
    await fetch(database, "ALTER TABLE hextasks_version RENAME TO alembic_version")
    await fetch(database, "ALTER INDEX hextasks_version_pkc RENAME TO alembic_version_pkc")


@pytest.mark.parametrize(
    ("revision", "theirs"), [("0001", None), ("0002", "0004"), ("0003", "9f86d081884c"), ("0004", None)]
)
async def test_tables_of_an_earlier_release_are_taken_over(empty: Database, revision: str, theirs: str | None) -> None:
    """Whatever is in `alembic_version` since: processes of that release read it, and it may have become the host's."""
    await of_an_earlier_release(empty, revision)
    if theirs:
        await fetch(empty, "UPDATE alembic_version SET version_num = $1", theirs)
    task_id = a_task().id
    insert = "INSERT INTO tasks (user_id, id, title, created_at, updated_at, version)"
    await fetch(empty, f"{insert} VALUES ('ada', $1, 'Öl', now(), now(), 1)", task_id)
    before = await fetch(empty, THEIRS)
    assert (await schema_state(empty)).current == min(revision, "0003")

    assert str(await migrate(empty)) == f"migrated from revision {min(revision, '0003')} to {newest_revision()}"
    assert (await PostgresTaskRepository(empty).get("ada", task_id)).title == "Öl"
    assert str(await migrate(empty)) == f"already at revision {newest_revision()}"
    await alembic(empty, command.check)
    assert await fetch(empty, THEIRS) == before
    made = await relations(empty)
    await alembic(empty, command.downgrade, "base")
    keys = ("version", "version_pkc")
    assert await relations(empty) == {f"{whose}_{key}" for whose in ("alembic", "hextasks") for key in keys}
    await migrate(empty)
    assert await relations(empty) == made


async def test_their_schema_may_have_any_name(empty_url: str, empty: Database) -> None:
    await of_an_earlier_release(empty, "0001")
    await fetch(empty, 'ALTER SCHEMA public RENAME TO "a"".b"')
    database = urlsplit(empty_url).path.removeprefix("/")
    await fetch(empty, f'ALTER DATABASE "{database}" SET search_path = "a"".b"')
    reconnected = patient(empty_url)
    assert str(await migrate(reconnected)) == f"migrated from revision 0001 to {newest_revision()}"
    await reconnected.close()
