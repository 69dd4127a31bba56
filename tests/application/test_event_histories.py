"""Random histories of writes, purges, restored backups and crashes: no event is lost, and each comes in its order."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
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
    ChangeSignal,
    FollowEvents,
    Progress,
    SeenTask,
    State,
    TaskAlreadyExists,
    TaskEvent,
    follow_events,
)
from domain import Task, TaskChange, TaskDraft
from tests.application.consumers import Consumer, lists, without_empty
from tests.contract.epochs import set_epochs
from tests.fields import changes, drafts

pytestmark = pytest.mark.unmeasured

T = TypeVar("T")
NOW = datetime(2026, 1, 31, tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
USERS = ["ada", "Ada", "grace", "zoë"]
users = st.sampled_from(["ada", *USERS])
ids = st.integers(0, 4).map(lambda n: UUID(int=n))


class Crash(Exception):
    """The process ends here."""


class CrashingPositions(MemoryPositions):
    """Positions that survive, of a process that ends before or after one of the calls."""

    calls_left: float = float("inf")
    is_done_before_the_crash = False

    async def _call(self, call: Awaitable[T]) -> T:
        self.calls_left -= 1
        if self.calls_left >= 0:
            return await call
        if self.is_done_before_the_crash:
            await call
        elif isinstance(call, Coroutine):
            call.close()
        raise Crash

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        return await self._call(super().states(user_ids))

    async def seen(self, user_id: str, task_ids: Collection[UUID] | None) -> dict[UUID, SeenTask]:
        return await self._call(super().seen(user_id, task_ids))

    async def record(self, progress: Progress) -> None:
        await self._call(super().record(progress))

    async def pending(self) -> Sequence[TaskEvent]:
        return await self._call(super().pending())

    async def delivered(self, event: TaskEvent) -> None:
        await self._call(super().delivered(event))


class Histories(RuleBasedStateMachine):
    """One follower, who is started again after each crash."""

    run: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        self.tasks, self.positions, self.consumer = MemoryTaskRepository(), CrashingPositions(), Consumer()
        self.follow = FollowEvents(tasks=self.tasks, signal=ChangeSignal())
        self.epoch = 1

    @rule(user=users, ids=st.lists(ids, min_size=1, max_size=5), draft=drafts)
    def create(self, user: str, ids: list[UUID], draft: TaskDraft) -> None:
        for each in ids:
            with suppress(TaskAlreadyExists):
                self.run(self.tasks.add(Task.create(draft, id=each, user_id=user, now=NOW)))

    @rule(user=users, id=ids, change=changes)
    def change(self, user: str, id: UUID, change: TaskChange) -> None:
        for task in self.run(self.tasks.get_many(user, [id])).values():
            self.run(self.tasks.save(task.apply(change, now=NOW)))

    @rule(user=users, id=ids)
    def delete(self, user: str, id: UUID) -> None:
        if self.run(self.tasks.get_many(user, [id])):
            self.run(self.tasks.remove(user, id, removed_at=NOW))

    @rule(limit=st.integers(1, 3))
    def purge(self, limit: int) -> None:
        self.run(self.tasks.purge(removed_before=END, keys_before=END, limit=limit))

    @rule()
    def restore(self) -> None:
        self.epoch += 1
        self.run(set_epochs(self.tasks, self.epoch))

    @rule(user=users)
    def restore_a_backup_without_the_user(self, user: str) -> None:
        self.tasks._users.pop(user, None)

    @rule(calls=st.integers(0, 12), is_done=st.booleans())
    def follow_until_a_crash(self, calls: int, is_done: bool) -> None:
        self.positions.calls_left, self.positions.is_done_before_the_crash = calls, is_done
        with suppress(Crash):
            self.run(self.receive())
        self.positions.calls_left = float("inf")

    @rule(count=st.integers(1, 6))
    def follow_and_leave(self, count: int) -> None:
        self.run(self.receive(count))

    @rule()
    def follow_to_the_end(self) -> None:
        self.run(self.receive())
        assert without_empty(self.consumer.copy) == self.run(lists(self.tasks, {*USERS}))
        repeated = self.consumer.repeated
        self.run(self.receive())
        assert self.consumer.repeated == repeated

    def teardown(self) -> None:
        self.follow_to_the_end()

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
