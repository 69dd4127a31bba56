"""The short form of the kills, and proof that the ledger detects losses."""

from pathlib import Path

import pytest

from adapters.postgres import Coalescing
from tests.torture.client import Json
from tests.torture.kill import kills
from tests.torture.ledger import DELETE, Ledger
from tests.torture.postgres import OwnPostgres
from tests.torture.report import kept
from tests.torture.service import COALESCING


# In the mode "user" the same code shares statements, among fewer calls; killing PostgreSQL is one of the outages.
@pytest.mark.parametrize("mode", ["all", "off"])
async def test_a_kill_loses_nothing(
    tmp_path: Path, postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch, mode: Coalescing
) -> None:
    monkeypatch.setenv(COALESCING, mode)
    kept(await kills(tmp_path, postgres, rounds=1, seconds=0.5))


def a_task(version: int, title: str = "Buy milk", *, is_completed: bool = False, key: str = "1") -> Json:
    done_at = "2026-01-01T00:00:00.000000Z" if is_completed else None
    return {"id": key, "title": title, "version": version, "is_completed": is_completed, "completed_at": done_at}


@pytest.mark.parametrize(
    ("unknown", "stored", "fault"),
    [
        ([], [], "lost"),
        ([], [a_task(1, "older")], "acknowledged write lost"),
        ([], [a_task(3)], "changed without a write"),
        ([], [a_task(2, "other")], "changed without a write"),
        ([{"title": "new"}], [a_task(3, "neither")], "half-done write"),
        ([{"title": "new"}], [a_task(3, "new", is_completed=True)], "half-done write"),
        ([{"title": "new"}], [a_task(3, "new")], ""),
        ([{"title": "new"}], [a_task(2)], ""),
        ([{"is_completed": True}], [a_task(3, is_completed=True)], ""),
        ([DELETE], [], ""),
        ([], [a_task(2), a_task(4, key="2")], "stored twice"),
        ([], [a_task(2), a_task(4, "x", key="2")], "not written"),
        ([], [{**a_task(2), "is_completed": True}], "changed without a write"),
    ],
)
def test_the_ledger_detects_faults(unknown: list[Json], stored: list[Json], fault: str) -> None:
    ledger = Ledger("ada")
    ledger.acknowledge(a_task(2))
    ledger.unknown["1"] = unknown
    wrong = ledger.check(stored)
    assert wrong[0].startswith(fault) if fault else wrong == []


def test_the_ledger_detects_a_deleted_task_that_is_stored() -> None:
    ledger = Ledger("ada")
    ledger.acknowledge(a_task(2))
    ledger.removed.add("1")
    assert ledger.check([]) == []
    assert ledger.check([a_task(2)])[0].startswith("deleted but stored")
