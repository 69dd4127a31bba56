"""The short form of the outages: loose bounds and less load for slow machines, strict about all answers and rows."""

from pathlib import Path

import pytest

from tests.torture.outages import FAULTS, SILENT, at_start, terminated, under_load
from tests.torture.postgres import OwnPostgres
from tests.torture.report import kept
from tests.torture.watch import Bounds

pytestmark = pytest.mark.waits

PATIENT = Bounds(answer=5.0, live=5.0, heal=15.0, pause=0.1)


async def test_it_starts_before_its_database(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await at_start(tmp_path, postgres, PATIENT))


# Not the cut wires: to the service, one is like a paused server.
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if "wire" not in fault])
async def test_the_database_becomes_unavailable_under_load(tmp_path: Path, postgres: OwnPostgres, fault: str) -> None:
    seconds = 4.0 if fault in SILENT else 1.0  # longer than DATABASE_TIMEOUT, on a busy machine too
    kept(await under_load(tmp_path, postgres, fault, rounds=1, seconds=seconds, bounds=PATIENT))


async def test_terminated_connections_fail_no_read(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await terminated(tmp_path, postgres, seconds=1.0, bounds=PATIENT))
