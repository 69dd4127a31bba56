"""The short form of the outages: patient with slow machines, strict about what is answered and stored."""

from pathlib import Path

import pytest

from tests.torture.away import FAULTS, SILENT, at_start, terminated, under_load
from tests.torture.postgres import OwnPostgres
from tests.torture.report import kept
from tests.torture.watch import Bounds

PATIENT = Bounds(answer=5.0, live=5.0, heal=15.0)


async def test_it_starts_before_its_database(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await at_start(tmp_path, postgres, PATIENT))


# Not the cut wires: until it is mended, one is to the service what a paused server is.
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if "wire" not in fault])
async def test_the_database_goes_and_comes_under_load(tmp_path: Path, postgres: OwnPostgres, fault: str) -> None:
    seconds = 2.0 if fault in SILENT else 1.0
    kept(await under_load(tmp_path, postgres, fault, rounds=1, seconds=seconds, bounds=PATIENT))


async def test_lost_connections_fail_no_read(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await terminated(tmp_path, postgres, seconds=1.0, bounds=PATIENT))
