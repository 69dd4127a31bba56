"""Random histories of calls of the use-cases, with arguments that often repeat. Needs Hypothesis."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, invariant, multiple, precondition, rule

from hextasks import (
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
    Task,
    TaskChange,
    TaskDraft,
    TaskRepository,
    UpdateTask,
)
from hextasks.testing.contract.calls import walk
from hextasks.testing.contract.machine import USERS, Compared
from hextasks.testing.contract.model import EPOCH
from hextasks.testing.contract.replicas import Replica
from hextasks.testing.contract.strategies import changes, drafts

FILTERS = [None, True, False]
NO_ID = UUID(int=1)

users = st.sampled_from(["ada"] * 3 + USERS)  # names, which each history makes its own users of
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

    def owned(self, user: str, actor: str | None = None) -> dict[str, Any]:
        return {"actor": self.user(actor or user), "user_id": self.user(user)}

    def named(self, task: Task, owner: str | None, actor: str | None) -> dict[str, Any]:
        user = self.user(owner) if owner else task.user_id
        return {"actor": self.user(actor) if actor else user, "user_id": user, "task_id": task.id}

    @rule(target=seen, user=users, actor=strangers, ids=ids, draft=drafts, tick=ticks)
    def create(
        self, user: str, actor: str | None, ids: list[UUID], draft: TaskDraft, tick: timedelta
    ) -> MultipleResults[Task]:
        """Create several at the same time, so that the order of ids decides."""
        named, now = self.owned(user, actor) | {"draft": draft}, self.after(tick)
        made = [self.shown(_create(named, At(now, each))) for each in ids]
        return multiple(*(task for each in made for task in each.values))

    @rule(target=seen, user=users, id=few_ids, draft=drafts, tick=ticks, once=keys)
    def create_with_an_id(
        self, user: str, id: UUID, draft: TaskDraft, tick: timedelta, once: Once | None
    ) -> MultipleResults[Task]:
        named = self.owned(user) | {"draft": draft, "task_id": id, "once": once}
        return self.shown(_create(named, At(self.after(tick), NO_ID)))

    @rule(target=seen, task=seen, owner=strangers, actor=strangers)
    def get(self, task: Task, owner: str | None, actor: str | None) -> MultipleResults[Task]:
        return self.shown(lambda tasks: GetTask(tasks=tasks)(**self.named(task, owner, actor)))

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
        named = self.owned(user, actor) | {"page": PageRequest(**request), "known": known}
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
        named = self.named(task, owner, actor) | _expected(task, version) | {"once": once}
        return self.shown(lambda tasks: UpdateTask(tasks=tasks, clock=clock)(**named, change=change))

    @rule(target=seen, task=seen, owner=strangers, actor=strangers, version=versions, tick=ticks)
    def complete(
        self, task: Task, owner: str | None, actor: str | None, version: int | str | None, tick: timedelta
    ) -> MultipleResults[Task]:
        named, clock = self.named(task, owner, actor) | _expected(task, version), At(self.after(tick), NO_ID)
        return self.shown(lambda tasks: CompleteTask(tasks=tasks, clock=clock)(**named))

    @rule(target=states, task=seen, owner=strangers, actor=strangers, version=versions, once=keys)
    def delete(
        self, task: Task, owner: str | None, actor: str | None, version: int | str | None, once: Once | None
    ) -> MultipleResults[State]:
        named, clock = self.named(task, owner, actor) | _expected(task, version), At(self.now, NO_ID)
        return self.reached(lambda tasks: DeleteTask(tasks=tasks, clock=clock)(**named, once=once), "state")

    @rule(target=states, user=users, operations=operations, tick=ticks, if_state=st.none() | states, once=keys)
    def apply_batch(
        self, user: str, operations: Sequence[Operation], tick: timedelta, if_state: State | None, once: Once | None
    ) -> MultipleResults[State]:
        at = At(self.after(tick), NO_ID)
        named = self.owned(user) | {"operations": operations, "if_state": if_state, "once": once}
        return self.reached(lambda tasks: ApplyBatch(tasks=tasks, clock=at, ids=at)(**named), "state")

    @rule(target=seen, task=seen, change=changes, tick=ticks)
    def save_what_was_seen(self, task: Task, change: TaskChange, tick: timedelta) -> MultipleResults[Task]:
        """Act as a use-case that reads, and saves after another writer."""
        changed = task.apply(change, now=self.after(tick))
        return self.shown(lambda tasks: tasks.save(changed))

    @rule(target=states, user=users, since=st.none() | states, limit=limits)
    def list_changes(self, user: str, since: State | None, limit: int) -> MultipleResults[State]:
        named = self.owned(user) | {"since": since, "limit": limit}
        return self.reached(lambda tasks: ListChanges(tasks=tasks)(**named), "next")

    @rule(removals=ticks, keys=ticks)
    def purge(self, removals: timedelta, keys: timedelta) -> None:
        before = {"removed_before": self.now + removals, "keys_before": self.now + keys}
        self.apply(lambda tasks: tasks.purge(**before, limit=500))

    @precondition(lambda self: self.case.restores_backups)
    @rule(epoch=st.integers(EPOCH, EPOCH + 1))
    def restore(self, epoch: int) -> None:
        self.run(self.case.set_epochs(self.tasks, epoch))
        self.model.set_epochs(epoch)

    @rule(user=users, follower=st.integers(0, 1), limit=limits)
    def follow(self, user: str, follower: int, limit: int) -> None:
        """Read one page of changes. The last one makes the copy true, or its state had expired, and it starts again."""
        owner = self.user(user)
        replica = self.replicas.setdefault((user, follower), Replica(owner))
        if not self.run(replica.follow(self.tasks, limit)).has_more:
            assert replica.tasks == {task.id: task for task in self.run(walk(self.tasks, owner, 500))}

    @invariant()
    def all_lists_and_feeds_are_the_same(self) -> None:
        self.apply(self._everything)

    async def _everything(self, tasks: TaskRepository) -> object:
        lists = [walk(tasks, user, 3, completed) for user in self.users for completed in FILTERS]
        feeds = [tasks.changes(user, since=NOTHING, limit=500) for user in self.users]
        return await asyncio.gather(*lists, *feeds, tasks.states(self.users))


def _create(named: dict[str, Any], at: At) -> Any:
    return lambda tasks: CreateTask(tasks=tasks, clock=at, ids=at)(**named)


def _expected(task: Task, version: int | str | None) -> dict[str, Any]:
    return {"expected_version": task.version if version == "seen" else version}
