"""Random histories: memory, PostgreSQL in each mode and a minimal model return the same results.

How many and how long is chosen by `--hypothesis-profile`, see `tests/conftest.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from adapters.memory import MemoryTaskRepository
from adapters.postgres import Coalescing, Database, PostgresTaskRepository, migrate
from application import (
    ApplicationError,
    CompleteTask,
    CreateTask,
    DeleteTask,
    GetTask,
    ListTasks,
    PageRequest,
    Position,
    TaskRepository,
    UpdateTask,
)
from domain import DomainError, Task, TaskChange, TaskDraft
from tests.contract.model import ModelRepository
from tests.contract.test_task_repository import NOW, walk
from tests.databases import Server, patient
from tests.fields import changes, drafts

pytestmark = [pytest.mark.database, pytest.mark.unmeasured]

USERS = ["ada", "Ada", "grace"]
FILTERS = [None, True, False]
NO_ID = UUID(int=0)
FRESH_ID = UUID(int=1)
Story = Callable[[TaskRepository], Awaitable[Any]]

users = st.sampled_from(["ada"] * 3 + USERS)
strangers = st.sampled_from([None] * 27 + USERS)  # None is the owner, who calls far more often
few_ids = st.integers(0, 11).map(lambda n: UUID(int=n * 2**124))  # few, so that they are used repeatedly
ids = st.lists(few_ids, min_size=1, max_size=4)
ticks = st.integers(-3, 3).map(lambda n: timedelta(microseconds=n))
filters = st.sampled_from(FILTERS)
limits = st.sampled_from([1, 2, 3, 4, 500])
seen: Bundle[Task] = Bundle("seen")  # tasks as they were returned: their versions may be stale, and they may be deleted
places: Bundle[Position] = Bundle("places")  # where pages ended
versions = st.none() | st.just("seen") | st.integers(0, 8)


@dataclass
class At:
    """A clock and a source of ids with predetermined values."""

    time: datetime
    id: UUID

    def now(self) -> datetime:
        return self.time

    def new(self) -> UUID:
        return self.id


class Histories(RuleBasedStateMachine):
    """One history, applied to all repositories. Its clock steps back as often as forward."""

    def __init__(self, runner: asyncio.Runner, databases: dict[Coalescing, Database]) -> None:
        super().__init__()
        self.runner = runner
        self.repositories: dict[str, TaskRepository] = {"model": ModelRepository(), "memory": MemoryTaskRepository()}
        self.now = NOW
        for mode, database in databases.items():
            runner.run(_empty(database))
            self.repositories[f"postgres-{mode}"] = PostgresTaskRepository(database, coalescing=mode)

    @rule(target=seen, user=users, actor=strangers, ids=ids, draft=drafts, tick=ticks)
    def create(
        self, user: str, actor: str | None, ids: list[UUID], draft: TaskDraft, tick: timedelta
    ) -> MultipleResults[Task]:
        """Create several at the same time, so that the order of ids decides."""
        now = self.after(tick)
        made = [self.create_one(actor or user, user, draft, At(now, each)) for each in ids]
        return multiple(*(task for task in made if isinstance(task, Task)))

    def create_one(self, actor: str, user: str, draft: TaskDraft, at: At) -> Any:
        return self.apply(
            lambda tasks: CreateTask(tasks=tasks, clock=at, ids=at)(actor=actor, user_id=user, draft=draft)
        )

    @rule(target=seen, task=seen, owner=strangers, actor=strangers)
    def get(self, task: Task, owner: str | None, actor: str | None) -> MultipleResults[Task]:
        return self.shows(lambda tasks: GetTask(tasks=tasks)(**_named(task, owner, actor)))

    @rule(
        target=places,
        user=users,
        actor=strangers,
        limit=limits,
        completed=filters,
        after=st.none() | places | seen.map(Position.of),
    )
    def list(
        self, user: str, actor: str | None, limit: int, completed: bool | None, after: Position | None
    ) -> MultipleResults[Position]:
        page = PageRequest(limit=limit, after=after, completed=completed)
        answer = self.apply(lambda tasks: ListTasks(tasks=tasks)(actor=actor or user, user_id=user, page=page))
        following = getattr(answer, "next", None)
        return multiple(following) if following else multiple()

    @rule(
        target=seen,
        task=seen,
        owner=strangers,
        actor=strangers,
        change=changes,
        version=versions,
        tick=ticks,
    )
    def update(
        self,
        task: Task,
        owner: str | None,
        actor: str | None,
        change: TaskChange,
        version: int | str | None,
        tick: timedelta,
    ) -> MultipleResults[Task]:
        clock = At(self.after(tick), NO_ID)
        named = _named(task, owner, actor) | _expected(task, version)
        return self.shows(lambda tasks: UpdateTask(tasks=tasks, clock=clock)(**named, change=change))

    @rule(target=seen, task=seen, owner=strangers, actor=strangers, version=versions, tick=ticks)
    def complete(
        self, task: Task, owner: str | None, actor: str | None, version: int | str | None, tick: timedelta
    ) -> MultipleResults[Task]:
        named, clock = _named(task, owner, actor) | _expected(task, version), At(self.after(tick), NO_ID)
        return self.shows(lambda tasks: CompleteTask(tasks=tasks, clock=clock)(**named))

    @rule(task=seen, owner=strangers, actor=strangers, version=versions)
    def delete(self, task: Task, owner: str | None, actor: str | None, version: int | str | None) -> None:
        named, clock = _named(task, owner, actor) | _expected(task, version), At(self.now, NO_ID)
        self.apply(lambda tasks: DeleteTask(tasks=tasks, clock=clock)(**named))

    @rule(target=seen, task=seen, change=changes, tick=ticks)
    def save_what_was_seen(self, task: Task, change: TaskChange, tick: timedelta) -> MultipleResults[Task]:
        """Act as a use-case that reads, and saves after another writer."""
        changed = task.apply(change, now=self.after(tick))
        return self.shows(lambda tasks: tasks.save(changed))

    @invariant()
    def all_lists_are_the_same(self) -> None:
        self.apply(_all_lists)

    def teardown(self) -> None:
        """Let every user write once more, because only a new number shows the value of their counter."""
        for user in USERS:
            self.create_one(user, user, TaskDraft(title="last"), At(self.now, FRESH_ID))

    def after(self, tick: timedelta) -> datetime:
        self.now += tick
        return self.now

    def shows(self, story: Story) -> MultipleResults[Task]:
        answer = self.apply(story)
        return multiple(answer) if isinstance(answer, Task) else multiple()

    def apply(self, story: Story) -> Any:
        """Apply a call to all repositories, and return the outcome of each."""
        came_to = self.runner.run(_outcomes(story, self.repositories))
        expected = came_to["model"]
        assert came_to == dict.fromkeys(came_to, expected)
        return expected


async def _outcomes(story: Story, repositories: dict[str, TaskRepository]) -> dict[str, Any]:
    outcomes = await asyncio.gather(*(_outcome(story(tasks)) for tasks in repositories.values()))
    return dict(zip(repositories, outcomes, strict=True))


async def _outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except (ApplicationError, DomainError) as refusal:
        return type(refusal), str(refusal)


async def _all_lists(tasks: TaskRepository) -> object:
    return await asyncio.gather(*(walk(tasks, user, 3, completed) for user in USERS for completed in FILTERS))


async def _empty(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "DELETE FROM tasks; DELETE FROM task_counters; DELETE FROM task_tombstones; DELETE FROM idempotency_keys"
        )


def _named(task: Task, owner: str | None, actor: str | None) -> dict[str, Any]:
    user = owner or task.user_id
    return {"actor": actor or user, "user_id": user, "task_id": task.id}


def _expected(task: Task, version: int | str | None) -> dict[str, Any]:
    return {"expected_version": task.version if version == "seen" else version}


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop beside the session's, because Hypothesis drives its machines from plain functions."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner


def test_all_repositories_return_the_same_results(server: Server, runner: asyncio.Runner) -> None:
    databases: dict[Coalescing, Database] = {
        mode: patient(runner.run(server.new_database())) for mode in get_args(Coalescing)
    }

    class Here(Histories):
        def __init__(self) -> None:
            super().__init__(runner, databases)

    try:
        for database in databases.values():
            runner.run(migrate(database))
        few = settings().max_examples // 3  # fewer than elsewhere, but long ones, which find more
        run_state_machine_as_test(Here, settings=settings(max_examples=few))
    finally:
        for database in databases.values():
            runner.run(database.close())
