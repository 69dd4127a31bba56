"""The commands that migrate with the `postgres` extra alone: `python -m hextasks.postgres migrate`, and `alembic`."""

import asyncio
import os
import sys

import pytest
from alembic import command

from adapters.postgres import Database, schema_state
from adapters.postgres.migrations import newest_revision
from hextasks.postgres import main
from tests.adapters.test_postgres_host_migrations import of_an_earlier_release
from tests.adapters.test_postgres_migrations import ROOT, alembic, python, rejected, relations
from tests.databases import patient
from tests.sql import fetch

pytestmark = pytest.mark.database
MIGRATE_AND_NAME_WHAT_WAS_LOADED_OF_HTTP = """
import runpy, sys
sys.argv[1:] = ["migrate"]
runpy.run_module("hextasks.postgres", run_name="__main__")
http = {"dependency_injector", "dotenv", "httptools", "httpx", "jwt", "litestar", "msgspec", "offapi", "uvicorn"}
print(*sorted(name for name in sys.modules if name in http or name.partition(".")[0] == "entrypoints"))
"""


async def test_one_of_two_processes_takes_over_what_an_earlier_release_made(empty_url: str, empty: Database) -> None:
    await of_an_earlier_release(empty, "0004")
    environment = {**os.environ, "DATABASE_URL": empty_url, "DATABASE_SCHEMA": "public"}
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MIGRATE_AND_NAME_WHAT_WAS_LOADED_OF_HTTP),
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    said = {(await process.communicate())[0].decode() for process in processes}
    head = newest_revision()
    migrated, was_current = f"migrated from revision 0003 to {head}\n\n", f"already at revision {head}\n\n"
    assert migrated in said
    assert said <= {migrated, was_current}
    assert len(await fetch(empty, "SELECT FROM hextasks_version")) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "set DATABASE_URL"),
        ({"DATABASE_URL": "mysql://ada:tell-tale@host/x"}, "not a URL of the form"),
        ({"DATABASE_URL": "postgresql://host/x", "DATABASE_SCHEMA": "tell-tale"}, "1 to 63 lower-case letters"),
        ({"DATABASE_URL": "postgresql://ada:tell-tale@127.0.0.1:1/x"}, "unavailable: ConnectionRefusedError"),
    ],
)
def test_what_an_operator_has_to_correct_is_one_line(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["hextasks.postgres", "migrate"])
    for name in ("DATABASE_URL", "DATABASE_SCHEMA"):
        monkeypatch.setenv(name, settings.get(name, ""))
    with pytest.raises(SystemExit, match=rf"^hextasks: [^\n]*{words}[^\n]*$") as ended:
        main()
    assert "tell-tale" not in str(ended.value)


async def test_alembic_writes_sql_for_a_schema(empty_url: str, empty: Database) -> None:
    process = await python("alembic", "upgrade", "head", "--sql", DATABASE_SCHEMA="blue")
    said = (await process.communicate())[0].decode()
    async with empty.connection() as connection:
        for statement in said.split("\n\n"):  # one by one, because CREATE INDEX CONCURRENTLY runs in no transaction
            if statement.strip() and not statement.startswith("--"):
                await connection.execute(statement)
    blue = patient(empty_url, "blue")
    assert (await schema_state(blue)).is_current
    await alembic(blue, command.check)
    await blue.close()


async def test_alembic_migrates_a_schema(empty_url: str, empty: Database) -> None:
    process = await python("alembic", "upgrade", "0001", DATABASE_URL=empty_url, DATABASE_SCHEMA="blue")
    assert await process.wait() == 0
    assert [*(await fetch(empty, "SELECT version_num FROM blue.hextasks_version"))[0]] == ["0001"]
    assert await relations(empty) == set()


def test_alembic_reports_a_bad_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = "postgresql://ada@localhost/x"
    said = rejected(monkeypatch, capsys, "check", DATABASE_URL=url, DATABASE_SCHEMA="tell-tale")
    assert "DATABASE_SCHEMA must be 1 to 63" in said
    assert "tell-tale" not in said
