"""What only the memory adapter promises: its cost."""

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import SupportsIndex, overload
from uuid import UUID

import pytest

import adapters.memory.tasks as memory
from adapters.memory import MemoryTaskRepository
from application import PageRequest, Position
from tests.contract.test_task_repository import NOW, a_task

MANY = 10_000  # what is counted depends on no size; the benchmark times 100,000
Place = tuple[datetime, UUID]


class CountingList(list[Place]):
    """A list that counts the elements anyone takes out of it, and refuses to be sorted or walked."""

    taken = 0

    @overload
    def __getitem__(self, index: SupportsIndex) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> list[Place]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Place | list[Place]:
        found = super().__getitem__(index)
        CountingList.taken += len(found) if isinstance(found, list) else 1
        return found

    def __iter__(self) -> None:  # type: ignore[override]
        pytest.fail("a page walked the whole list")

    def sort(self, **_: object) -> None:
        pytest.fail("a page sorted the whole list")


async def test_a_page_of_50_among_many_touches_no_more_than_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = MemoryTaskRepository()
    made = [await tasks.add(a_task(now=NOW + timedelta(seconds=n))) for n in range(MANY)]
    user = tasks._users["ada"]
    user.places = {completed: CountingList(places) for completed, places in user.places.items()}
    monkeypatch.setattr(memory, "bisect_left", _bisect_left)
    for completed, after in [(None, None), (False, None), (None, Position.of(made[MANY // 2]))]:
        CountingList.taken = 0
        page = await tasks.list("ada", PageRequest(after=after, completed=completed))
        assert len(page.tasks) == 50
        assert CountingList.taken <= 51 + 14, "the page, one more, and a binary search"


def _bisect_left(places: list[Place], place: Place) -> int:
    """The binary search of the standard library, which in C reads a list past `__getitem__`, so count it here."""
    return bisect_left(range(len(places)), place, key=lambda index: places[index])
