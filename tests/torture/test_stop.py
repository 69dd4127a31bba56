"""The short form of the stops and of the overload: loose bounds, strict about what is answered and stored."""

from pathlib import Path

import pytest

from tests.torture.overload import overload
from tests.torture.postgres import OwnPostgres
from tests.torture.report import kept
from tests.torture.stop import stops

pytestmark = pytest.mark.waits


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_stop_answers_every_accepted_request(tmp_path: Path, postgres: OwnPostgres, processes: int) -> None:
    kept(await stops(tmp_path, postgres, processes=processes, rounds=1, notice=5.0, grace=25.0, pause=0.05))


async def test_too_many_requests_are_refused_and_some_are_served(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await overload(tmp_path, postgres, limit=1, seconds=0.5, is_strict=False))
