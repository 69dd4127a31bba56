"""One PostgreSQL server for all scenarios, which each of them finds running."""

from collections.abc import Iterator

import pytest

from tests.torture.postgres import OwnPostgres, own_postgres


@pytest.fixture(scope="session")
def _postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres(_postgres: OwnPostgres) -> OwnPostgres:
    _postgres.start()
    return _postgres
