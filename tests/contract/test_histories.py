"""Random histories: memory, PostgreSQL in each mode and a minimal model return the same results.

How many and how long is chosen by `--hypothesis-profile`, see `tests/conftest.py`.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, invariant, multiple, rule

from application import (
    NOTHING,
    ApplyBatch,
    ChangeOperation,
    CompleteTask,
    CreateOperation,
    CreateTask,
    DeleteOperation,
    DeleteTask,
    GetTask,
    ListChanges,
    ListTasks,
    Once,
    Operation,
    PageRequest,
    Position,
    State,
    TaskRepository,
    UpdateTask,
)
from domain import Task, TaskChange, TaskDraft
from tests.contract.compared import Compared, compare
from tests.contract.epochs import set_epochs
from tests.contract.model import EPOCH
from tests.contract.replicas import Replica
from tests.contract.test_task_repository import walk
from tests.databases import Server
from tests.fields import changes, drafts

pytestmark = [pytest.mark.database, pytest.mark.unmeasured]

USERS = ["ada", "Ada", "grace"]
FILTERS = [None, True, False]
NO_ID = UUID(int=1)

users = st.sampled_from(["ada"] * 3 + USERS)
strangers = st.sampled_from([None] * 27 + USERS)  # None is the owner, who calls far more often
few_ids = st.integers(0, 11).map(lambda n: UUID(int=n * 2**124))  # few, so that they are used repeatedly
ids = st.lists(few_ids, min_size=1, max_size=4)
ticks = st.integers(-3, 3).map(lambda n: timedelta(microseconds=n))
filters = st.sampled_from(FILTERS)
limits = st.sampled_from([1, 2, 3, 4, 500])
seen: Bundle[Task] = Bundle("seen")  # tasks as they were returned: their versions may be stale, and they may be deleted
places: Bundle[Position] = Bundle("places")  # where pages ended
states: Bundle[State] = Bundle("states")  # of any user and any time
versions = st.none() | st.just("seen") | st.integers(0, 8)
numbers = st.none() | st.none() | st.integers(1, 12)
keys = st.none() | st.builds(Once, key=st.sampled_from(["a", "b", "c"]), fingerprint=st.sampled_from([b"1", b"2"]))
texts = st.none() | st.sampled_from(["b", "BUY MILK", "\U0001f600", "%"])
operations = st.lists(
    st.builds(CreateOperation, draft=drafts, task_id=st.none() | few_ids)
    | st.builds(ChangeOperation, task_id=few_ids, change=changes, expected_version=numbers)
    | st.builds(DeleteOperation, task_id=few_ids, expected_version=numbers),
    min_size=1,
    max_size=6,
    unique_by=lambda operation: operation.task_id,
)


@dataclass
class At:
    """A clock and a source of ids with predetermined values."""

    time: datetime
    id: UUID

    def now(self) -> datetime:
        return self.time

    def new(self) -> UUID:
        return self.id


class Histories(Compared):
    """The stories, in any order, with arguments that often repeat."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.replicas: dict[tuple[str, int], Replica] = {}

    @rule(target=seen, user=users, actor=strangers, ids=ids, draft=drafts, tick=ticks)
    def create(
        self, user: str, actor: str | None, ids: list[UUID], draft: TaskDraft, tick: timedelta
    ) -> MultipleResults[Task]:
        """Create several at the same time, so that the order of ids decides."""
        named, now = {"actor": actor or user, "user_id": user, "draft": draft}, self.after(tick)
        made = [self.shown(_create(named, At(now, each))) for each in ids]
        return multiple(*(task for each in made for task in each.values))

    @rule(target=seen, user=users, id=few_ids, draft=drafts, tick=ticks, once=keys)
    def create_with_an_id(
        self, user: str, id: UUID, draft: TaskDraft, tick: timedelta, once: Once | None
    ) -> MultipleResults[Task]:
        named = {"actor": user, "user_id": user, "draft": draft, "task_id": id, "once": once}
        return self.shown(_create(named, At(self.after(tick), NO_ID)))

    @rule(target=seen, task=seen, owner=strangers, actor=strangers)
    def get(self, task: Task, owner: str | None, actor: str | None) -> MultipleResults[Task]:
        return self.shown(lambda tasks: GetTask(tasks=tasks)(**_named(task, owner, actor)))

    @rule(
        target=places,
        user=users,
        actor=strangers,
        limit=limits,
        completed=filters,
        after=st.none() | places | seen.map(Position.of),
        text=texts,
        known=st.none() | states,
    )
    def list(self, user: str, actor: str | None, known: State | None, **request: Any) -> MultipleResults[Position]:
        named: Any = {"actor": actor or user, "user_id": user, "page": PageRequest(**request), "known": known}
        following = getattr(self.apply(lambda tasks: ListTasks(tasks=tasks)(**named)), "next", None)
        return multiple(following) if following else multiple()

    @rule(
        target=seen,
        task=seen,
        owner=strangers,
        actor=strangers,
        change=changes,
        version=versions,
        tick=ticks,
        once=keys,
    )
    def update(
        self,
        task: Task,
        owner: str | None,
        actor: str | None,
        change: TaskChange,
        version: int | str | None,
        tick: timedelta,
        once: Once | None,
    ) -> MultipleResults[Task]:
        clock = At(self.after(tick), NO_ID)
        named = _named(task, owner, actor) | _expected(task, version) | {"once": once}
        return self.shown(lambda tasks: UpdateTask(tasks=tasks, clock=clock)(**named, change=change))

    @rule(target=seen, task=seen, owner=strangers, actor=strangers, version=versions, tick=ticks)
    def complete(
        self, task: Task, owner: str | None, actor: str | None, version: int | str | None, tick: timedelta
    ) -> MultipleResults[Task]:
        named, clock = _named(task, owner, actor) | _expected(task, version), At(self.after(tick), NO_ID)
        return self.shown(lambda tasks: CompleteTask(tasks=tasks, clock=clock)(**named))

    @rule(target=states, task=seen, owner=strangers, actor=strangers, version=versions, once=keys)
    def delete(
        self, task: Task, owner: str | None, actor: str | None, version: int | str | None, once: Once | None
    ) -> MultipleResults[State]:
        named, clock = _named(task, owner, actor) | _expected(task, version), At(self.now, NO_ID)
        return self.reached(lambda tasks: DeleteTask(tasks=tasks, clock=clock)(**named, once=once), "state")

    @rule(target=states, user=users, operations=operations, tick=ticks, if_state=st.none() | states, once=keys)
    def apply_batch(
        self, user: str, operations: Sequence[Operation], tick: timedelta, if_state: State | None, once: Once | None
    ) -> MultipleResults[State]:
        at = At(self.after(tick), NO_ID)
        named: Any = {"actor": user, "user_id": user, "operations": operations, "if_state": if_state, "once": once}
        return self.reached(lambda tasks: ApplyBatch(tasks=tasks, clock=at, ids=at)(**named), "state")

    @rule(target=seen, task=seen, change=changes, tick=ticks)
    def save_what_was_seen(self, task: Task, change: TaskChange, tick: timedelta) -> MultipleResults[Task]:
        """Act as a use-case that reads, and saves after another writer."""
        changed = task.apply(change, now=self.after(tick))
        return self.shown(lambda tasks: tasks.save(changed))

    @rule(target=states, user=users, since=st.none() | states, limit=limits)
    def list_changes(self, user: str, since: State | None, limit: int) -> MultipleResults[State]:
        named: Any = {"actor": user, "user_id": user, "since": since, "limit": limit}
        return self.reached(lambda tasks: ListChanges(tasks=tasks)(**named), "next")

    @rule(removals=ticks, keys=ticks)
    def purge(self, removals: timedelta, keys: timedelta) -> None:
        before = {"removed_before": self.now + removals, "keys_before": self.now + keys}
        self.apply(lambda tasks: tasks.purge(**before, limit=500))

    @rule(epoch=st.integers(EPOCH, EPOCH + 1))
    def restore(self, epoch: int) -> None:
        self.apply(lambda tasks: set_epochs(tasks, epoch))

    @rule(user=users, follower=st.integers(0, 1), limit=limits, repository=st.integers(0, 4))
    def follow(self, user: str, follower: int, limit: int, repository: int) -> None:
        """Read one page of changes. The last one makes the copy true, or its state had expired, and it starts again."""
        tasks = [*self.repositories.values()][repository]
        replica = self.replicas.setdefault((user, follower), Replica(user))
        if not self.runner.run(replica.follow(tasks, limit)).has_more:
            assert replica.tasks == {task.id: task for task in self.runner.run(walk(tasks, user, 500))}

    @invariant()
    def all_lists_and_feeds_are_the_same(self) -> None:
        self.apply(_everything)


def _create(named: dict[str, Any], at: At) -> Any:
    return lambda tasks: CreateTask(tasks=tasks, clock=at, ids=at)(**named)


async def _everything(tasks: TaskRepository) -> object:
    lists = [walk(tasks, user, 3, completed) for user in USERS for completed in FILTERS]
    feeds = [tasks.changes(user, since=NOTHING, limit=500) for user in USERS]
    return await asyncio.gather(*lists, *feeds, tasks.states(USERS))


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
    compare(Histories, server, runner)
