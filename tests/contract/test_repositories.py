"""The contract of the TaskRepository port, for every adapter. The fixture `tasks` is in tests/conftest.py."""

import pytest
from hypothesis import settings

from adapters.memory import MemoryTaskRepository
from adapters.postgres import Coalescing, Database, PostgresTaskRepository
from application import TaskRepository
from hextasks.testing import contract
from hextasks.testing.contract.following import follow_writers
from tests.databases import Server, migrated, patient
from tests.sql import fetch

ROUNDS = {"fast": 10, "test": 25, "torture": 1000}
PAIRS: list[tuple[Coalescing, Coalescing]] = [("all", "all"), ("all", "user"), ("off", "all")]


class RestoresBackups(contract.RepositoryCase):
    restores_backups = True

    async def set_epochs(self, tasks: TaskRepository, epoch: int) -> None:
        if isinstance(tasks, PostgresTaskRepository):
            assert isinstance(tasks._database, Database)
            await fetch(tasks._database, "UPDATE task_counters SET epoch = $1", epoch)
        else:
            assert isinstance(tasks, MemoryTaskRepository)
            for user in tasks._users.values():
                user.epoch = epoch if user.counter else user.epoch


class TestRepository(contract.ShortContract):
    pass


class TestChanges(RestoresBackups, contract.ChangeContract):
    pass


class TestConcurrency(contract.ConcurrencyContract):
    pass


@pytest.mark.unmeasured
class TestFollowers(RestoresBackups, contract.FollowerContract):
    @pytest.fixture(autouse=True)
    def as_the_profile_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TestFollowers, "rounds", ROUNDS[settings.get_current_profile_name()])

    @pytest.mark.database
    @pytest.mark.parametrize(("mode", "other"), PAIRS)
    async def test_a_follower_of_two_processes_has_their_list(
        self, server: Server, mode: Coalescing, other: Coalescing
    ) -> None:
        url = await migrated(server)
        databases = patient(url), patient(url)
        repositories = [PostgresTaskRepository(d, coalescing=m) for d, m in zip(databases, (mode, other), strict=True)]
        await follow_writers(repositories, self.rounds)
        for database in databases:
            await database.close()


@pytest.mark.unmeasured
class TestHistories(RestoresBackups, contract.HistoryContract):
    """How many and how long is chosen by `--hypothesis-profile`, see `tests/conftest.py`."""
