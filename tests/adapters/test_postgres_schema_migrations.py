"""A schema of its own: everything that names a table names the one in that schema, whatever the search path is."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest
from alembic import command

from adapters.postgres import Database, DatabaseNotReady, PostgresStorage, PostgresTaskRepository, migrate
from adapters.postgres.epochs import renew_epochs
from application import StorageNotMigrated
from hextasks.testing.contract.calls import a_task, add
from tests.adapters.test_postgres_migrations import alembic
from tests.databases import patient
from tests.services import running_service
from tests.statements import statements

pytestmark = pytest.mark.database
RELATIONS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"


async def test_two_schemas_in_one_database_are_two_services(empty_url: str, owner: asyncpg.Connection) -> None:
    with (
        running_service(is_measured=False, DATABASE_URL=empty_url, DATABASE_SCHEMA="blue") as blue,
        running_service(is_measured=False, DATABASE_URL=empty_url, DATABASE_SCHEMA="green") as green,
        blue.client("ada") as in_blue,
        green.client("ada") as in_green,
    ):
        made = in_blue.post(in_blue.tasks, json={"title": "Buy milk"})
        assert made.status_code == 201
        assert in_green.get(in_green.tasks).json()["tasks"] == []
        assert in_green.post(in_green.tasks, json={"title": "Buy tea", "id": made.json()["id"]}).status_code == 201
        assert in_blue.get(in_blue.tasks).json()["tasks"] == [made.json()]
        assert in_green.get("/health/ready").status_code == 200
    in_other = "SELECT epoch, value FROM green.task_counters"
    before = await owner.fetch(in_other)
    database = patient(empty_url, "blue")
    assert await renew_epochs(database) == 1
    assert await owner.fetch(in_other) == before
    await alembic(database, command.check)
    await alembic(database, command.downgrade, "base")
    assert await owner.fetch(in_other) == before
    with pytest.raises(StorageNotMigrated):
        await PostgresTaskRepository(database).get("ada", uuid4())
    await database.close()
    assert await owner.fetch(RELATIONS) == []


async def test_event_loops_in_several_threads_migrate_at_once(empty_url: str, owner: asyncpg.Connection) -> None:
    async def migrate_all(*schemas: str) -> None:
        await asyncio.gather(*(migrate(empty_url, schema=schema) for schema in schemas))

    await asyncio.gather(
        *(asyncio.to_thread(asyncio.run, migrate_all(*schemas)) for schemas in (("blue", "green"), ("red", "white")))
    )
    tables = "SELECT schemaname FROM pg_tables WHERE tablename = 'tasks' ORDER BY 1"
    assert [schema for (schema,) in await owner.fetch(tables)] == ["blue", "green", "red", "white"]


async def test_every_statement_names_the_schema(empty_url: str) -> None:
    await migrate(empty_url, schema="blue")
    found = [each for each in statements().values() if each.name != "distribution"]  # reads Citus's catalogue
    assert len(found) > 35
    database = patient(empty_url, schema="blue")
    async with database.connection() as connection:
        await connection.execute("SET search_path = ''")
        for statement in found:
            await connection.prepare(database._sql(statement))
    await database.close()


async def test_a_role_is_told_the_grants_with_the_schema_in_them(
    empty_url: str, restricted_url: str, owner: asyncpg.Connection
) -> None:
    await migrate(empty_url, schema="blue")
    storage = PostgresStorage(restricted_url, schema="blue", migrates=False)
    with pytest.raises(DatabaseNotReady, match=r"GRANT USAGE ON SCHEMA blue TO .*UPDATE, DELETE ON blue.tasks TO"):
        await storage.start()
    await owner.execute(" ".join((await storage.examine()).grants))
    await storage.start()
    await storage.ping()
    await add(storage.tasks, a_task())
    await storage.close()


@pytest.mark.parametrize("schema", ["blue", "select"])
async def test_a_role_that_may_not_make_the_schema_is_told_what_makes_it(
    restricted_url: str, owner: asyncpg.Connection, schema: str
) -> None:
    with pytest.raises(DatabaseNotReady) as rejected:
        await migrate(restricted_url, schema=schema)
    await owner.execute(str(rejected.value).partition("run: ")[2])
    assert str(await migrate(restricted_url, schema=schema)).startswith("migrated from revision none")
    assert str(await migrate(restricted_url, schema=schema)).startswith("already at")


async def test_a_table_of_the_host_that_has_our_name_is_in_the_way_only_in_its_own_schema(
    empty_url: str, owner: asyncpg.Connection
) -> None:
    await owner.execute("CREATE TABLE tasks AS SELECT 1 AS title_key")
    with pytest.raises(DatabaseNotReady, match=r'"tasks" already exists; give the service .* \(DATABASE_SCHEMA\)'):
        await migrate(empty_url)
    await migrate(empty_url, schema="blue")
    assert [*(await owner.fetchrow("SELECT * FROM tasks"))] == [1]


async def test_a_database_has_one_schema(empty_url: str) -> None:
    for schema in ("", "Blue", "1st", "blue-green", 'b"l', "blue.green", "pg_blue", "b" * 64, "blau\n", "bläu"):
        with pytest.raises(ValueError, match="1 to 63 lower-case letters"):
            Database(empty_url, schema=schema)
    database = patient(empty_url, "select")  # a reserved word
    with pytest.raises(ValueError, match="has its schema"):
        await migrate(database, schema="blue")
    with pytest.raises(TypeError, match="not NoneType"):
        await migrate(None)  # type: ignore[arg-type]
    await migrate(database)
    await add(PostgresTaskRepository(database), a_task())
    await database.close()
