"""Repositories for the use-cases; use-cases and positions in memory, for the tests of events."""

import pytest

from adapters.memory import MemoryTaskRepository
from adapters.positions import MemoryPositions
from adapters.postgres import PostgresTaskRepository
from application import TaskRepository, Tasks
from tests.application.consumers import use_cases
from tests.databases import STORAGES


@pytest.fixture(params=STORAGES)
def tasks(request: pytest.FixtureRequest) -> TaskRepository:
    """A repository without tasks. To use-cases all ways to share statements are alike, which the contract proves."""
    if request.param == "memory":
        return MemoryTaskRepository()
    postgres: PostgresTaskRepository = request.getfixturevalue("postgres_tasks")
    return postgres


@pytest.fixture
def repository() -> MemoryTaskRepository:
    return MemoryTaskRepository()


@pytest.fixture
def memory(repository: MemoryTaskRepository) -> Tasks:
    return use_cases(repository)


@pytest.fixture
def positions() -> MemoryPositions:
    return MemoryPositions()
