"""Random histories of writes, purges, restored backups and crashes: no event is lost, and each comes in its order."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from adapters.memory import MemoryTaskRepository
from adapters.positions import MemoryPositions
from application import (
    ChangePage,
    ChangeSignal,
    FollowEvents,
    Progress,
    State,
    TaskAlreadyExists,
    TaskEvent,
    follow_events,
)
from domain import Task, TaskChange, TaskDraft
from tests.application.consumers import Consumer, lists, without_empty

pytestmark = pytest.mark.unmeasured

T = TypeVar("T")
NOW = datetime(2026, 1, 31, tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
USERS = ["ada", "Ada", "grace", "zoë"]
users = st.sampled_from(["ada"] * 3 + USERS)
Write = tuple[UUID, TaskChange | None]
CHANGES = [
    TaskChange(title="one"),
    TaskChange(title="two"),
    TaskChange(is_completed=True),
    TaskChange(is_completed=False),
    None,
]
IDS = [UUID(int=n) for n in range(4)]
writes = st.lists(st.sampled_from([(each, change) for each in IDS for change in CHANGES]), min_size=3, max_size=8)


class Crash(Exception):
    """The process ends here."""


class CrashingPositions(MemoryPositions):
    """Positions that survive, of a process that ends before or after it has recorded progress or a delivery."""

    writes_left: float = float("inf")
    is_done_before_the_crash = False

    async def _write(self, write: Coroutine[Any, Any, None]) -> None:
        self.writes_left -= 1
        if self.writes_left >= 0 or self.is_done_before_the_crash:
            await write
        else:
            write.close()
        if self.writes_left < 0:
            raise Crash

    async def record(self, progress: Progress) -> None:
        await self._write(super().record(progress))

    async def delivered(self, event: TaskEvent) -> None:
        await self._write(super().delivered(event))


class BusyTasks(MemoryTaskRepository):
    """Tasks that are written while a follower reads: one write before each page."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Coroutine[Any, Any, None]] = []

    async def changes(self, user_id: str, *, since: State, limit: int) -> ChangePage:
        if self.writes:
            await self.writes.pop(0)
        return await super().changes(user_id, since=since, limit=limit)


class Histories(RuleBasedStateMachine):
    """One follower, who is started again after each crash."""

    run: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        self.tasks, self.positions, self.consumer = BusyTasks(), CrashingPositions(), Consumer()
        self.follow = FollowEvents(tasks=self.tasks, signal=ChangeSignal())
        self.epoch = 1

    @rule(user=users, writes=writes)
    def write(self, user: str, writes: list[Write]) -> None:
        for write in writes:
            self.run(self.carry_out(user, *write))

    @rule(user=users, writes=writes)
    def write_later(self, user: str, writes: list[Write]) -> None:
        self.tasks.writes += [self.carry_out(user, *write) for write in writes]

    async def carry_out(self, user: str, id: UUID, change: TaskChange | None) -> None:
        """Create a task that does not exist, and otherwise change or delete it. A deletion of the first is purged."""
        found = await self.tasks.get_many(user, [id])
        if not found:
            with suppress(TaskAlreadyExists):
                await self.tasks.add(Task.create(TaskDraft(title="one"), id=id, user_id=user, now=NOW))
        elif change:
            await self.tasks.save(found[id].apply(change, now=NOW))
        else:
            await self.tasks.remove(user, id, removed_at=NOW)
            if id == IDS[0]:
                await self.tasks.purge(removed_before=END, keys_before=END, limit=100)

    @rule(without=st.none() | users)
    def restore(self, without: str | None) -> None:
        """Restore a backup that has everything, or not yet a user."""
        self.epoch += 1
        for user in self.tasks._users.values():
            user.epoch = self.epoch
        self.tasks._users.pop(without or "", None)

    @rule(writes=st.integers(0, 6), is_done=st.booleans())
    def follow_until_a_crash(self, writes: int, is_done: bool) -> None:
        self.positions.writes_left, self.positions.is_done_before_the_crash = writes, is_done
        with suppress(Crash):
            self.run(self.receive())
        self.positions.writes_left = float("inf")

    @rule(count=st.integers(1, 6))
    def follow_and_leave(self, count: int) -> None:
        self.run(self.receive(count))

    def teardown(self) -> None:
        """The rest makes the copy true, and is all delivered."""
        while self.tasks.writes:
            self.run(self.tasks.writes.pop(0))
        self.run(self.receive())
        assert without_empty(self.consumer.copy) == self.run(lists(self.tasks, {*USERS}))
        repeated = self.consumer.repeated
        self.run(self.receive())
        assert self.consumer.repeated == repeated

    async def receive(self, count: int = 1000) -> None:
        async with aclosing(self.follow(self.positions, wait=False)) as events:
            async for event in events:
                self.consumer.note(event)
                if (count := count - 1) == 0:
                    break


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Runner]:
    """An event loop, in which followers read small pages."""
    monkeypatch.setattr(follow_events, "USERS_PER_PAGE", 2)
    monkeypatch.setattr(follow_events, "MAX_PAGE_SIZE", 2)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner


def test_the_events_of_any_history_make_the_lists(runner: asyncio.Runner) -> None:
    run_state_machine_as_test(type("OnRunner", (Histories,), {"run": staticmethod(runner.run)}))
