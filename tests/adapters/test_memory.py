"""The cost of the memory adapter."""

import random
from bisect import bisect_left
from datetime import UTC, timedelta
from typing import Any, SupportsIndex, overload
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.memory import MemoryTaskRepository, ordered
from adapters.memory.ordered import OrderedPlaces, place_of
from application import PageRequest, Position
from hextasks.testing.contract.calls import NOW, a_task, add

MANY = 10_000  # the counts do not depend on the size; the benchmark uses 100,000


class CountingList(list[Any]):
    """A list that counts the elements that are read from it, and refuses to be sorted or walked."""

    taken = 0

    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        found = super().__getitem__(index)
        CountingList.taken += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> None:  # type: ignore[override]
        pytest.fail("a page walked the whole list")

    def sort(self, **_: object) -> None:
        pytest.fail("a page sorted the whole list")


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_a_page_of_50_among_many_touches_no_more_than_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = MemoryTaskRepository()
    made = [await add(tasks, a_task(now=NOW + timedelta(seconds=n))) for n in range(MANY)]
    user = tasks._users["ada"]
    for places in (user.all, *user.by_state.values()):
        places._chunks = CountingList([CountingList(chunk) for chunk in places._chunks])
        places._lasts = CountingList(places._lasts)
    monkeypatch.setattr(ordered, "bisect_left", _bisect_left)
    for completed, after in [(None, None), (False, None), (None, Position.of(made[MANY // 2]))]:
        CountingList.taken = 0
        page = await tasks.list("ada", PageRequest(after=after, completed=completed))
        assert len(page.tasks) == 50
        assert CountingList.taken <= 51 + 2 * 14, "the page, one more, and a binary search over chunks and in one"


def _bisect_left(places: list[int], place: int) -> int:
    """The binary search of the standard library, which in C reads a list past `__getitem__`, so count it here."""
    return bisect_left(range(len(places)), place, key=lambda index: places[index])


@mock.patch.object(ordered, "CHUNK_SIZE", 8)
@given(st.randoms(use_true_random=False), st.integers(0, 40), st.floats(0, 1))
def test_places_keep_their_order_under_random_changes(order: random.Random, count: int, removed: float) -> None:
    places, kept = OrderedPlaces(), order.sample(range(count), count)
    for place in kept:
        places.add(place)
    for place in order.sample(kept, int(count * removed)):
        places.remove(place)
        kept.remove(place)
    kept.sort(reverse=True)
    assert places.newest(count + 1) == kept
    for start in range(len(kept)):
        assert places.newest(10, before=kept[start]) == kept[start + 1 : start + 11]
    assert all(0 < len(chunk) <= 16 for chunk in places._chunks)


@given(st.lists(st.builds(Position, created_at=st.datetimes(timezones=st.just(UTC)), id=st.uuids()), min_size=2))
def test_a_place_orders_as_its_position_does(positions: list[Position]) -> None:
    assert sorted(positions) == sorted(positions, key=lambda position: place_of(position.created_at, position.id))
