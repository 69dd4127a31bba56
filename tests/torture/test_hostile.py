"""The short form of the hostile clients: loose about speed, strict about what is answered and kept."""

import sys
from pathlib import Path

import pytest

from tests.torture.hostile import hostile
from tests.torture.postgres import OwnPostgres
from tests.torture.report import kept


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_hostile_clients_cost_others_nothing(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await hostile(tmp_path, postgres, seconds=3.0, connections=50, is_strict=False))
