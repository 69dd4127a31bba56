"""Use-cases and positions in memory, for the tests of events."""

import pytest

from adapters.memory import MemoryTaskRepository
from adapters.positions import MemoryPositions
from application import Tasks
from tests.application.consumers import use_cases


@pytest.fixture
def repository() -> MemoryTaskRepository:
    return MemoryTaskRepository()


@pytest.fixture
def memory(repository: MemoryTaskRepository) -> Tasks:
    return use_cases(repository)


@pytest.fixture
def positions() -> MemoryPositions:
    return MemoryPositions()
