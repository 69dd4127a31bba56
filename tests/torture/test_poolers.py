"""PgBouncer as the guide configures it: the contract of the repository through it, and what the commands say."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.postgres import Database, DatabaseNotReady, PostgresTaskRepository, migrate
from application import TaskRepository
from hextasks.testing import contract
from tests.cli.processes import command
from tests.conftest import emptied
from tests.databases import patient
from tests.poolers import needs_pgbouncer, pgbouncer
from tests.torture.postgres import OwnPostgres

pytestmark = [needs_pgbouncer, pytest.mark.unmeasured]
KINDS = {"transaction": r"a pooler that keeps (no )?prepared statements", "session": "a pooler that keeps no prepared"}
IS_WHOLE = "TEST_WHOLE_POOLED_CONTRACT"
"""The variable with which `make poolers` has those tests run, too, that take long."""


@pytest.fixture(scope="module")
async def name(_postgres: OwnPostgres) -> str:
    _postgres.start()
    return await _postgres.new_database()


@pytest.fixture(scope="module")
def url(_postgres: OwnPostgres, name: str) -> Iterator[str]:
    """With few connections of its own, which clients share all the time."""
    with pgbouncer(_postgres, name, default_pool_size=2) as url:
        yield url


@pytest.fixture(scope="module")
async def pooled(url: str) -> AsyncIterator[Database]:
    database = patient(url)
    yield database
    await database.close()


@pytest.fixture
async def tasks(pooled: Database) -> TaskRepository:
    return PostgresTaskRepository(await emptied(pooled))


class TestPooled(contract.ShortContract):
    pass


if IS_WHOLE in os.environ:

    class TestPooledLong(
        contract.ChangeContract, contract.ConcurrencyContract, contract.FollowerContract, contract.HistoryContract
    ):
        pass


def test_the_doctor_names_the_pooler_and_finds_no_fault(url: str, tmp_path: Path) -> None:
    found = command("doctor", cwd=tmp_path, DATABASE_URL=url)
    assert re.search(
        rf"^ok +database +PostgreSQL \S+, UTF8, through {KINDS['transaction']}$", found.stdout, re.MULTILINE
    )
    assert found.returncode == 0


@pytest.mark.parametrize("mode", KINDS)
async def test_only_a_session_is_migrated(postgres: OwnPostgres, name: str, mode: str) -> None:
    async with postgres.admin() as admin:
        await admin.execute(f"CREATE DATABASE {name}_{mode} OWNER hextasks")
    with pgbouncer(postgres, f"{name}_{mode}", pool_mode=mode) as url:
        database = patient(url)
        if mode == "session":
            assert (await migrate(database)).after.is_current
        else:
            with pytest.raises(DatabaseNotReady, match="shares connections"):
                await migrate(database)
        assert re.match(KINDS[mode], database.pooler)
        await database.close()
