"""The testing kit without pytest."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain import InvalidText
from hextasks.testing import Builder, ManualClock, SequentialIds, a_draft, a_task, memory_tasks


def test_a_clock_stands_still_until_it_is_set_or_stepped() -> None:
    clock = ManualClock(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert clock.now() == clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    assert clock.step() == clock.now() == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert clock.step(timedelta(days=-1)) == datetime(2025, 12, 31, 0, 0, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="aware"):
        clock.set(datetime(2026, 1, 1))  # noqa: DTZ001


def test_ids_are_in_sequence() -> None:
    ids = SequentialIds()
    made = [ids.new() for _ in range(3)]
    assert made == sorted(made) == [ids.nth(n) for n in (1, 2, 3)]
    assert [each.version for each in made] == [7, 7, 7]


async def test_builders() -> None:
    with pytest.raises(InvalidText):
        a_draft(" ")
    assert a_task().id != a_task().id
    build = Builder()
    tasks = memory_tasks(clock=build.clock, ids=build.ids)
    made = await build.fill(tasks, 5, user_id="grace", completed=2)
    assert [(task.user_id, task.is_completed) for task in made] == [("grace", n < 2) for n in range(5)]
    assert (await tasks.of("grace").list()).tasks == tuple(reversed(made))
    task = build.task("Call", is_completed=True)
    assert (task.created_at, task.id, task.is_completed) == (build.clock.now(), SequentialIds.nth(6), True)
