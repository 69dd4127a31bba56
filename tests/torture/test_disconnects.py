"""The short form of the disconnects. The soak has no short form."""

from pathlib import Path

from tests.torture.disconnects import disconnects
from tests.torture.postgres import OwnPostgres
from tests.torture.report import kept


async def test_clients_that_disconnect_cost_no_connection_and_no_write(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await disconnects(tmp_path, postgres, rounds=1, clients=10))
