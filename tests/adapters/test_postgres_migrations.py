"""The schema: its migration, alone and concurrently, and what its constraints reject."""

import asyncio
import os
import sys
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import main as alembic_command
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.postgres import (
    Database,
    MigrationTimeout,
    PoolSettings,
    PostgresTaskRepository,
    UnknownRevision,
    migrate,
    schema_state,
)
from adapters.postgres.migration_session import alembic_config, migration_session, upgrade
from adapters.postgres.migration_watch import LOCK_KEY
from domain import InvalidText
from domain.rules import TextRule
from hextasks.testing.contract.calls import NOW, a_task, add
from tests.databases import Server, patient
from tests.fields import RULES

pytestmark = pytest.mark.database
ROOT = Path(__file__).parents[2]


async def alembic(database: Database, run: Callable[..., Any], *arguments: str) -> None:
    async with migration_session(database) as session:
        await session.run_sync(lambda c: run(alembic_config(c), *arguments))


async def python(module: str, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


def rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str, **environment: str
) -> str:
    """Run an Alembic command that fails without a traceback, in this process, and return what it prints."""
    monkeypatch.chdir(ROOT)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        alembic_command([*arguments])
    assert ended.value.code
    return "".join(capsys.readouterr())


async def relations(database: Database) -> set[str]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        functions = await connection.fetch("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    return {row[0] for row in rows + functions}


async def test_up_down_and_up_again(empty: Database) -> None:
    assert (await schema_state(empty)).current is None
    await migrate(empty)
    made = await relations(empty)
    assert {"tasks", "task_counters", "task_tombstones", "tasks_newest_first", "tasks_touch_updated_at"} <= made
    await alembic(empty, command.check)
    await alembic(empty, command.downgrade, "base")
    assert await relations(empty) == {"hextasks_version", "hextasks_version_pkc"}
    await migrate(empty)
    await migrate(empty)
    assert await relations(empty) == made
    assert (await schema_state(empty)).is_current


async def test_alembic_works_from_the_repository_root(server: Server) -> None:
    url = await server.new_database()
    for arguments in (["upgrade", "head"], ["check"]):
        process = await python("alembic", *arguments, DATABASE_URL=url)
        assert await process.wait() == 0


@pytest.mark.parametrize("url", ["", "memory://", "postgresql://ada:tell/tale@host/x"])
def test_its_command_reports_an_error_in_the_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    said = rejected(monkeypatch, capsys, "check", DATABASE_URL=url)
    assert "DATABASE_URL" in said
    assert "tell" not in said


async def test_many_processes_migrate_at_once_and_none_fails(server: Server) -> None:
    url = await server.new_database()
    processes = [await python("hextasks", "migrate", DATABASE_URL=url) for _ in range(3)]
    outputs = [(await process.communicate())[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, outputs
    database = patient(url)
    assert (await schema_state(database)).is_current
    await database.close()


async def test_waiting_for_the_lock_is_bounded(empty: Database, empty_url: str) -> None:
    hasty = Database(empty_url, PoolSettings(timeout=1.0))  # applies to requests, not to migrations
    async with empty.connection() as holder, holder.transaction():
        await holder.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        with pytest.raises(MigrationTimeout):
            await upgrade(hasty, lock_timeout=0.2)
        waiting = asyncio.create_task(upgrade(hasty, lock_timeout=30))
        await asyncio.sleep(1.2)
        assert not waiting.done()
    await waiting
    await hasty.close()
    assert (await schema_state(empty)).is_current


async def test_a_database_of_newer_code_is_left_alone(empty: Database) -> None:
    await migrate(empty)
    async with empty.connection() as connection:
        await connection.execute("UPDATE hextasks_version SET version_num = '9999', compatible_from = '9999'")
    with pytest.raises(UnknownRevision):
        await migrate(empty)
    assert not (await schema_state(empty)).is_current


@pytest.mark.unmeasured
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(text=st.text(min_size=0, max_size=505))
@example("\u0085x")
@example("x\u2028")
@example("\u3000")
@example("a\nb\t")
@example("x\x7f")
async def test_the_database_rejects_exactly_what_the_domain_rejects(
    postgres_tasks: PostgresTaskRepository, database: Database, text: str
) -> None:
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        return  # such text does not even reach a constraint
    for field, rule in RULES.items():
        assert await is_stored(database, field, text) == is_allowed(rule, text)


@pytest.mark.parametrize("field", RULES)
async def test_the_database_counts_characters_as_the_domain_does(
    postgres_tasks: PostgresTaskRepository, database: Database, field: str
) -> None:
    longest = "\U0001f600" * RULES[field].max_length
    assert await is_stored(database, field, longest)
    assert not await is_stored(database, field, longest + "x")


@pytest.mark.parametrize("field", RULES)
async def test_the_database_judges_each_special_character_as_the_domain_does(
    postgres_tasks: PostgresTaskRepository, database: Database, field: str
) -> None:
    special = [c for c in map(chr, range(1, 0x3001)) if c.isspace() or unicodedata.category(c) == "Cc"]
    for text in [text for c in special for text in (f"a{c}b", f"{c}b", f"a{c}")]:
        assert await is_stored(database, field, text) == is_allowed(RULES[field], text), ascii(text)


async def is_stored(database: Database, field: str, text: str) -> bool:
    row = {"user_id": "ada", "title": "Buy milk", field: text}
    columns, places = ", ".join(row), ", ".join(f"${n}" for n in range(1, len(row) + 1))
    insert = f"INSERT INTO tasks (id, created_at, updated_at, version, {columns}) "
    async with database.connection() as connection:
        try:
            await connection.execute(f"{insert} VALUES (gen_random_uuid(), now(), now(), 1, {places})", *row.values())
        except asyncpg.CheckViolationError:
            return False
    return True


def is_allowed(rule: TextRule, text: str) -> bool:
    try:
        rule.check(text)
    except InvalidText:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("completed_at = created_at - interval '1 us'", "tasks_completed_at_in_order"),
        ("completed_at = updated_at + interval '1 day'", "tasks_completed_at_in_order"),
        ("updated_at = created_at - interval '1 us'", "tasks_updated_at_in_order"),
        ("version = 0", "tasks_version_positive"),
        ("title = ' x'", "tasks_title_stripped"),
        ("title = E'a\\nb'", "tasks_title_no_control"),
        ("title = ''", "tasks_title_length"),
        ("user_id = ''", "tasks_user_id_valid"),
    ],
)
async def test_constraints_carry_names(
    postgres_tasks: PostgresTaskRepository, database: Database, change: str, constraint: str
) -> None:
    await postgres_tasks.add(a_task())
    if "updated_at =" not in change:
        change += ", updated_at = updated_at + interval '1 us'"
    async with database.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await connection.execute(f"UPDATE tasks SET {change}")
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize("created_at", [NOW, NOW + timedelta(days=365 * 50)], ids=["past", "future"])
@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ("title = 'by hand'", True),
        ("completed_at = updated_at", True),
        ("title = title", False),
        ("title_key = 'x'", False),
    ],
)
async def test_updated_at_moves_when_hand_written_sql_changes_a_task(
    postgres_tasks: PostgresTaskRepository, database: Database, change: str, moves: bool, created_at: datetime
) -> None:
    task = await add(postgres_tasks, a_task(now=created_at))
    async with database.connection() as connection:
        await connection.execute(f"UPDATE tasks SET {change}")
    after = await postgres_tasks.get("ada", task.id)
    assert (after.updated_at > task.updated_at) == moves


async def test_updated_at_stays_as_its_writer_set_it(
    postgres_tasks: PostgresTaskRepository, database: Database
) -> None:
    task = await add(postgres_tasks, a_task())
    async with database.connection() as connection:
        await connection.execute("UPDATE tasks SET title = 'by hand', updated_at = updated_at + interval '1 us'")
    assert (await postgres_tasks.get("ada", task.id)).updated_at == task.updated_at + timedelta(microseconds=1)
