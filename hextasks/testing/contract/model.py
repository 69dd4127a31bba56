"""A minimal TaskRepository, with which repositories are compared."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from hextasks import (
    NOTHING,
    ApplicationError,
    Applied,
    Change,
    ChangePage,
    IdempotencyKeyReused,
    IdempotencyKeyUsed,
    Once,
    PageRequest,
    Position,
    Removal,
    State,
    StateExpired,
    StateMismatch,
    Task,
    TaskAlreadyExists,
    TaskNotFound,
    TaskPage,
    TaskRepository,
    VersionConflict,
    Write,
    WritesRejected,
    Written,
    search_key,
)

EPOCH = 1
"""The epoch of every new user. Repositories choose random ones."""


class ModelRepository(TaskRepository):
    """Dictionaries, a counter, and a sort of everything at each listing."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, UUID], Task] = {}
        self.removals: dict[tuple[str, UUID], tuple[Removal, datetime]] = {}
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.floors: defaultdict[str, int] = defaultdict(int)
        self.keys: dict[tuple[str, str], tuple[Once, Applied, datetime]] = {}
        self.epochs: dict[str, int] = {}

    async def add(self, task: Task) -> Written[Task]:
        if (task.user_id, task.id) in self.tasks.keys() | self.removals.keys():
            raise TaskAlreadyExists
        return self._store(task)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        if (user_id, task_id) not in self.tasks:
            raise TaskNotFound
        return self.tasks[user_id, task_id]

    async def get_many(self, user_id: str, task_ids: Collection[UUID]) -> dict[UUID, Task]:
        return {each: self.tasks[user_id, each] for each in task_ids if (user_id, each) in self.tasks}

    async def list(self, user_id: str, page: PageRequest, *, known: State | None = None) -> TaskPage:
        state = self.state(user_id)
        if state == known:
            return TaskPage(tasks=(), next=None, state=state)
        found = sorted(self._tasks_of(user_id), key=Position.of, reverse=True)
        found = [task for task in found if page.completed in (None, task.is_completed)]
        found = [task for task in found if page.after is None or Position.of(task) < page.after]
        found = [task for task in found if page.text is None or search_key(page.text) in search_key(task.title)]
        return TaskPage.cut(found, page.limit, state)

    async def save(self, task: Task) -> Written[Task]:
        stored = await self._read(task.user_id, task.id, task.version)
        return self._store(replace(task, created_at=stored.created_at))

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> Written[None]:
        await self._read(user_id, task_id, expected_version)
        del self.tasks[user_id, task_id]
        self.counters[user_id] += 1
        self.removals[user_id, task_id] = Removal(id=task_id, version=self.counters[user_id]), removed_at
        return Written(task=None, state=self.state(user_id))

    async def apply(
        self,
        user_id: str,
        writes: Sequence[Write],
        *,
        now: datetime,
        once: Once | None = None,
        if_state: State | None = None,
    ) -> Applied:
        before = self.state(user_id)
        if if_state not in (None, before):
            raise StateMismatch
        copies = self.tasks.copy(), self.removals.copy(), self.counters.copy()
        results: list[Change] = []
        errors: dict[int, ApplicationError] = {}
        for place, write in enumerate(writes):
            try:
                results.append(await self._carry_out(write, now))
            except ApplicationError as error:
                errors[place] = error
        is_used = once is not None and (user_id, once.key) in self.keys
        if errors or is_used:
            self.tasks, self.removals, self.counters = copies
            raise WritesRejected(errors) if errors else IdempotencyKeyUsed
        state = self.state(user_id)
        applied = Applied(results=tuple(results), state=state, has_changed=state != before)
        if once:
            self.keys[user_id, once.key] = once, applied, now
        return applied

    async def recall(self, user_id: str, once: Once) -> Applied | None:
        if (user_id, once.key) not in self.keys:
            return None
        stored, applied, _ = self.keys[user_id, once.key]
        if stored != once:
            raise IdempotencyKeyReused
        return replace(applied, is_replayed=True)

    async def changes(self, user_id: str, *, since: State, limit: int) -> ChangePage:
        state = self.state(user_id)
        is_first = since == NOTHING
        began = state.number if is_first else since.began
        if not is_first and (
            since.epoch != state.epoch
            or max(since.number, since.began) > state.number
            or self.floors[user_id] > max(since.number, since.began)
        ):
            raise StateExpired
        removals = [removal for (owner, _), (removal, _) in self.removals.items() if owner == user_id]
        found: list[Change] = [*self._tasks_of(user_id), *(each for each in removals if each.version > began)]
        found = sorted((each for each in found if each.version > since.number), key=lambda change: change.version)
        if len(found) <= limit:
            return ChangePage(changes=tuple(found), next=state, has_more=False)
        next_ = State(epoch=state.epoch, number=found[limit - 1].version, began=began)
        return ChangePage(changes=tuple(found[:limit]), next=next_, has_more=True)

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        return {user_id: self.state(user_id) for user_id in user_ids if self.counters[user_id]}

    async def all_states(self, *, after: str, limit: int) -> dict[str, State]:
        return await self.states(sorted(user_id for user_id in self.counters if user_id > after)[:limit])

    async def purge(self, *, removed_before: datetime, keys_before: datetime, limit: int) -> int:
        removals = sorted((at, place) for place, (_, at) in self.removals.items() if at < removed_before)[:limit]
        keys = sorted((at, place) for place, (_, _, at) in self.keys.items() if at < keys_before)[:limit]
        for _, place in removals:
            self.floors[place[0]] = max(self.floors[place[0]], self.removals.pop(place)[0].version)
        for _, key in keys:
            del self.keys[key]
        return len(removals) + len(keys)

    def set_epochs(self, epoch: int) -> None:
        self.epochs = {user_id: epoch for user_id, number in self.counters.items() if number}

    def state(self, user_id: str) -> State:
        number = self.counters[user_id]
        return State(epoch=self.epochs.get(user_id, EPOCH), number=number) if number else NOTHING

    def _tasks_of(self, user_id: str) -> Sequence[Task]:
        return [task for task in self.tasks.values() if task.user_id == user_id]

    async def _read(self, user_id: str, task_id: UUID, version: int | None) -> Task:
        stored = await self.get(user_id, task_id)
        if version not in (None, stored.version):
            raise VersionConflict(stored.version)
        return stored

    async def _carry_out(self, write: Write, now: datetime) -> Change:
        task = write.task
        match write.kind:
            case "add":
                return (await self.add(task)).task
            case "save":
                return (await self.save(task)).task
            case "remove":
                await self.remove(task.user_id, task.id, removed_at=now, expected_version=task.version)
                return self.removals[task.user_id, task.id][0]
            case "keep":
                return await self._read(task.user_id, task.id, task.version)

    def _store(self, task: Task) -> Written[Task]:
        self.counters[task.user_id] += 1
        stored = self.tasks[task.user_id, task.id] = replace(task, version=self.counters[task.user_id])
        return Written(task=stored, state=self.state(task.user_id))
