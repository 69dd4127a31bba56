"""The contract of the PositionStore port, in memory and in a file; and what only a file has to do."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from adapters.positions import MemoryPositions, SqlitePositions
from application import PositionsInUse, PositionStore, Progress, SeenTask, State, TaskDeleted, TaskEvent
from application.events import TaskRenamed

STATE = State(epoch=2**48 - 1, number=7, began=9)
MILK, BREAD = UUID(int=1), UUID(int=2)
SEEN = {
    MILK: SeenTask(title="e\u0301 \U0001f600 '; --", is_completed=True),
    BREAD: SeenTask(title="bread", is_completed=False),
}
RENAMED = TaskRenamed(
    user_id="ada",
    task_id=MILK,
    title="\U0001f600",
    old_title="milk",
    at=datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC),
    epoch=STATE.epoch,
    version=7,
    part=0,
)
DELETED = TaskDeleted(user_id="ada", task_id=BREAD, title="bread", at=None, epoch=STATE.epoch, version=7, part=1)


@pytest.fixture(params=[MemoryPositions, SqlitePositions])
def positions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PositionStore]:
    if request.param is MemoryPositions:
        yield MemoryPositions()
    else:
        with SqlitePositions(tmp_path / "positions") as positions:
            yield positions


def progress(user_id: str = "ada", state: State = STATE, *events: TaskEvent, removed: UUID | None = None) -> Progress:
    gone = frozenset([removed] if removed else [])
    seen = {task_id: task for task_id, task in SEEN.items() if task_id not in gone}
    return Progress(user_id=user_id, state=state, seen=seen, removed=gone, events=events)


async def test_what_was_recorded_last_is_kept(positions: PositionStore) -> None:
    assert await positions.states(["ada"]) == {}
    assert await positions.seen("ada", None) == {}
    await positions.record(progress())
    await positions.record(progress("grace", replace(STATE, number=1)))
    assert await positions.states(["ada", "nobody"]) == {"ada": STATE}
    assert await positions.seen("ada", None) == SEEN
    assert await positions.seen("ada", [MILK, UUID(int=3)]) == {MILK: SEEN[MILK]}
    await positions.record(progress("ada", replace(STATE, number=8), removed=BREAD))
    assert await positions.states(["ada"]) == {"ada": replace(STATE, number=8)}
    assert await positions.seen("ada", None) == await positions.seen("ada", [MILK, BREAD]) == {MILK: SEEN[MILK]}
    assert await positions.seen("grace", None) == SEEN


async def test_users_in_a_range(positions: PositionStore) -> None:
    for user in ("ada", "Ada", "ä", "\uffff", "\U0001f600"):
        await positions.record(progress(user))
    assert sorted(await positions.users(after="", until=None)) == ["Ada", "ada", "ä", "\uffff", "\U0001f600"]
    assert sorted(await positions.users(after="ada", until="\uffff")) == ["ä", "\uffff"]


async def test_events_are_pending_in_their_order_until_they_are_delivered(positions: PositionStore) -> None:
    await positions.record(progress("ada", STATE, RENAMED))
    await positions.record(progress("ada", STATE, DELETED))
    assert [*await positions.pending()] == [RENAMED, DELETED]
    with pytest.raises(PositionsInUse):
        await positions.delivered(DELETED)
    await positions.delivered(RENAMED)
    assert [*await positions.pending()] == [DELETED]
    await positions.delivered(DELETED)
    assert [*await positions.pending()] == []
    with pytest.raises(PositionsInUse):
        await positions.delivered(DELETED)


async def test_a_file_keeps_all_of_it(tmp_path: Path) -> None:
    with SqlitePositions(tmp_path / "positions") as positions:
        await positions.record(progress("ada", STATE, RENAMED, DELETED))
        await positions.delivered(RENAMED)
        with pytest.raises(PositionsInUse):
            SqlitePositions(tmp_path / "positions", timeout=0)
    with SqlitePositions(str(tmp_path / "positions")) as positions:
        assert await positions.states(["ada"]) == {"ada": STATE}
        assert await positions.seen("ada", None) == SEEN
        assert [*await positions.pending()] == [DELETED]


async def test_progress_that_cannot_be_written_is_not_written_in_part(tmp_path: Path) -> None:
    with SqlitePositions(tmp_path / "positions") as positions:
        await positions.record(progress())
        no_title = {MILK: SeenTask(title="\ud800", is_completed=False)}
        with pytest.raises(UnicodeEncodeError):
            await positions.record(replace(progress("ada", replace(STATE, number=8)), seen=no_title))
        assert await positions.states(["ada"]) == {"ada": STATE}
        assert await positions.seen("ada", None) == SEEN
        await positions.record(progress("grace"))


def test_another_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("something else, and long enough to be no empty database" * 20)
    with pytest.raises(sqlite3.DatabaseError):
        SqlitePositions(tmp_path / "notes.txt")
    with pytest.raises(sqlite3.OperationalError):
        SqlitePositions(tmp_path / "no folder" / "positions")


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    with SqlitePositions(tmp_path / "positions"):
        assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}
