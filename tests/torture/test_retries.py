"""The short forms of the retries and of the replicas."""

from pathlib import Path

from tests.torture.postgres import OwnPostgres
from tests.torture.replicas import replicas
from tests.torture.report import kept
from tests.torture.retries import retries


async def test_repeated_writes_are_done_once(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await retries(tmp_path, postgres, rounds=2))


async def test_offline_clients_lose_and_repeat_nothing(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await replicas(tmp_path, postgres, seconds=10.0))
