"""The example of a third adapter passes the contract that is shipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.examples.sqlite_repository import SqliteTaskRepository
from hextasks import NOTHING, StorageUnavailable, TaskRepository
from hextasks.testing import a_task
from hextasks.testing.contract import RepositoryContract

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]


class TestSqlite(RepositoryContract):
    restores_backups = True

    @pytest.fixture
    def tasks(self) -> Iterator[SqliteTaskRepository]:
        repository = SqliteTaskRepository(":memory:")
        yield repository
        repository.close()

    async def set_epochs(self, tasks: TaskRepository, epoch: int) -> None:
        assert isinstance(tasks, SqliteTaskRepository)
        tasks.tables.database.execute("UPDATE counters SET epoch = ?", (epoch,))


async def test_a_file_is_kept_and_shared(tmp_path: Path) -> None:
    one, other = (SqliteTaskRepository(str(tmp_path / "tasks.db")) for _ in range(2))
    written = await one.add(a_task())
    assert (await other.get("ada", written.task.id), await other.states(["ada"])) == (
        written.task,
        {"ada": written.state},
    )
    other.tables.database.execute("PRAGMA busy_timeout = 0")
    one.tables.database.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await other.add(a_task())
    one.tables.database.execute("ROLLBACK")
    assert (await other.changes("ada", since=NOTHING, limit=9)).changes == (written.task,)
    one.close()
    other.close()
