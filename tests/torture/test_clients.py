"""The short form of clients that go away; the soak has none."""

from pathlib import Path

from tests.torture.clients import clients_leave
from tests.torture.postgres import OwnPostgres
from tests.torture.report import kept


async def test_clients_that_leave_take_nothing_along(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await clients_leave(tmp_path, postgres, rounds=1, leavers=10))
