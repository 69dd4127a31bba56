"""Ids sort by creation, whatever the system clock does; the clock is aware UTC."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids

INSTANT = 1_770_000_000_123_456_789


def milliseconds(id: UUID) -> int:
    return id.int >> 80


def test_an_id_is_a_uuid_of_version_7_that_carries_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = Uuid7Ids().new()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= milliseconds(made) <= time.time_ns() // 1_000_000


def test_ids_strictly_increase() -> None:
    ids = Uuid7Ids()
    made = [ids.new() for _ in range(10_000)]
    assert all(earlier < later for earlier, later in pairwise(made))
    assert all(str(earlier) < str(later) for earlier, later in pairwise(made))
    assert {(each.version, each.variant) for each in made} == {(7, RFC_4122)}


@pytest.mark.parametrize("step", [0, -1, -1_000_000, -3600 * 10**9], ids=["still", "-1 ns", "-1 ms", "-1 h"])
@pytest.mark.slow
def test_ids_grow_when_the_clock_does_not(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    ids, clock = Uuid7Ids(), [INSTANT]
    monkeypatch.setattr(time, "time_ns", lambda: clock[-1])
    made = [ids.new()]
    for _ in range(9_999):  # more than the 4,096 that one millisecond holds
        clock.append(clock[-1] + step)
        made.append(ids.new())
    assert all(earlier < later for earlier, later in pairwise(made))
    assert {(each.version, each.variant) for each in made} == {(7, RFC_4122)}
    assert milliseconds(made[0]) == INSTANT // 1_000_000
    assert milliseconds(made[-1]) <= INSTANT // 1_000_000 + 3

    clock.append(INSTANT + 10**9)
    assert milliseconds(ids.new()) == INSTANT // 1_000_000 + 1000


def test_the_fraction_of_the_millisecond_orders_ids_of_two_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for nanoseconds in range(0, 1_000_000, 1000):
        monkeypatch.setattr(time, "time_ns", lambda now=INSTANT // 1_000_000 * 1_000_000 + nanoseconds: now)
        made.append(Uuid7Ids().new())
    assert made == sorted(made)
    assert {milliseconds(each) for each in made} == {INSTANT // 1_000_000}


def test_sources_at_the_same_instant_return_different_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: INSTANT)
    assert len({Uuid7Ids().new() for _ in range(1000)}) == 1000


def test_the_clock_is_aware_utc_with_microseconds() -> None:
    clock = SystemClock()
    before = datetime.now(UTC)
    now = clock.now()
    assert before <= now <= datetime.now(UTC)
    assert (now.tzinfo, now.utcoffset()) == (UTC, timedelta(0))
    assert any(clock.now().microsecond % 1000 for _ in range(100))
