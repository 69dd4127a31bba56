"""One PostgreSQL server for all scenarios, which each of them finds running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.postgres import OwnPostgres, own_postgres


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("service")
            item.add_marker("database")


@pytest.fixture(scope="session")
def _postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres(_postgres: OwnPostgres) -> OwnPostgres:
    _postgres.start()
    return _postgres
