"""The TaskRepository port over dictionaries, with the same results as the PostgreSQL adapter."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import nsmallest
from operator import itemgetter
from uuid import UUID

from adapters.memory.user_tasks import UserTasks
from application import (
    NOTHING,
    ApplicationError,
    Applied,
    Change,
    ChangePage,
    IdempotencyKeyReused,
    IdempotencyKeyUsed,
    Once,
    PageRequest,
    Removal,
    State,
    StateMismatch,
    TaskAlreadyExists,
    TaskNotFound,
    TaskPage,
    TaskRepository,
    VersionConflict,
    Write,
    WritesRejected,
    Written,
)
from domain import Task, check_id


class MemoryTaskRepository(TaskRepository):
    """Keeps tasks in this process, for as long as this object lives.

    Atomic because no method yields to the event loop; not for use from several threads. Returns the
    tasks that it keeps, which are immutable.
    """

    def __init__(self) -> None:
        """Start without tasks."""
        self._users: defaultdict[str, UserTasks] = defaultdict(UserTasks)

    async def add(self, task: Task) -> Written[Task]:
        user = self._users[task.user_id]
        _check_new(user, task)
        return Written(task=user.add(task), state=user.state)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        check_id(task_id)
        return self._find(user_id, task_id)

    async def get_many(self, user_id: str, task_ids: Collection[UUID]) -> dict[UUID, Task]:
        for each in task_ids:
            check_id(each)
        user = self._users.get(user_id)
        return {each: user.by_id[each.int] for each in task_ids if each.int in user.by_id} if user else {}

    async def list(self, user_id: str, page: PageRequest, *, known: State | None = None) -> TaskPage:
        user = self._users.get(user_id)
        state = user.state if user else NOTHING
        return user.page(page) if user and state != known else TaskPage(tasks=(), next=None, state=state)

    async def save(self, task: Task) -> Written[Task]:
        stored = self._read(task)
        user = self._users[task.user_id]
        return Written(task=user.save(stored, task), state=user.state)

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> Written[None]:
        check_id(task_id)
        task = self._find(user_id, task_id)
        if expected_version not in (None, task.version):
            raise VersionConflict(task.version)
        user = self._users[user_id]
        user.remove(task, removed_at)
        return Written(task=None, state=user.state)

    async def apply(
        self,
        user_id: str,
        writes: Sequence[Write],
        *,
        now: datetime,
        once: Once | None = None,
        if_state: State | None = None,
    ) -> Applied:
        user = self._users[user_id]
        if if_state not in (None, user.state):
            raise StateMismatch
        errors: dict[int, ApplicationError] = {}
        for place, write in enumerate(writes):
            try:
                _check_new(user, write.task) if write.kind == "add" else self._read(write.task)
            except (TaskAlreadyExists, TaskNotFound, VersionConflict) as error:
                errors[place] = error
        if errors:
            raise WritesRejected(errors)
        if once and once.key in user.keys:
            raise IdempotencyKeyUsed
        before = user.state
        results = tuple(_carry_out(user, write, now) for write in writes)
        applied = Applied(results=results, state=user.state, has_changed=user.state != before)
        if once:
            user.keys[once.key] = now, once, applied
        return applied

    async def recall(self, user_id: str, once: Once) -> Applied | None:
        user = self._users.get(user_id)
        if user is None or once.key not in user.keys:
            return None
        _, stored, applied = user.keys[once.key]
        if stored.fingerprint != once.fingerprint:
            raise IdempotencyKeyReused
        return replace(applied, is_replayed=True)

    async def changes(self, user_id: str, *, since: State, limit: int) -> ChangePage:
        return self._users.get(user_id, UserTasks()).changes(since, limit)

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        known = {user_id: self._users[user_id].state for user_id in user_ids if user_id in self._users}
        return {user_id: state for user_id, state in known.items() if state != NOTHING}

    async def all_states(self, *, after: str, limit: int) -> dict[str, State]:
        # Reads the ids of all users.
        following = (user_id for user_id, user in self._users.items() if user.counter and user_id > after)
        return {user_id: self._users[user_id].state for user_id in nsmallest(limit, following)}

    async def purge(self, *, removed_before: datetime, keys_before: datetime, limit: int) -> int:
        # Reads all deletions and keys.
        removals = (
            (removed_at, user, task_id)
            for user in self._users.values()
            for task_id, (removed_at, _) in user.log.removed_at.items()
            if removed_at < removed_before
        )
        keys = (
            (stored_at, user, key)
            for user in self._users.values()
            for key, (stored_at, _, _) in user.keys.items()
            if stored_at < keys_before
        )
        old_removals = nsmallest(limit, removals, key=itemgetter(0))
        old_keys = nsmallest(limit, keys, key=itemgetter(0))
        for _, user, task_id in old_removals:
            user.forget(task_id)
        for _, user, key in old_keys:
            del user.keys[key]
        return len(old_removals) + len(old_keys)

    async def forget(self, user_id: str) -> int:
        user = self._users.pop(user_id, None)
        return user.size if user else 0

    def _read(self, task: Task) -> Task:
        """Return the stored task. Raises TaskNotFound, and VersionConflict for another version."""
        stored = self._find(task.user_id, task.id)
        if stored.version != task.version:
            raise VersionConflict(stored.version)
        return stored

    def _find(self, user_id: str, task_id: UUID) -> Task:
        user = self._users.get(user_id)
        task = user.by_id.get(task_id.int) if user else None
        if task is None:
            raise TaskNotFound
        return task


def _check_new(user: UserTasks, task: Task) -> None:
    """Raise TaskAlreadyExists for a task that exists or was deleted."""
    if task.id.int in user.by_id or task.id in user.log.removed_at:
        raise TaskAlreadyExists


def _carry_out(user: UserTasks, write: Write, now: datetime) -> Change:
    match write.kind:
        case "add":
            return user.add(write.task)
        case "save":
            return user.save(user.by_id[write.task.id.int], write.task)
        case "remove":
            user.remove(write.task, now)
            return Removal(id=write.task.id, version=user.counter)
        case "keep":
            return user.by_id[write.task.id.int]
