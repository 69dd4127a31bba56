"""The TaskRepository port over dictionaries, answering exactly as the Postgres adapter does."""

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from uuid import UUID

from application import PageRequest, TaskAlreadyExists, TaskNotFound, TaskPage, VersionConflict
from domain import TASK_FIELDS, Task

_Place = tuple[datetime, UUID]  # compares as Position does, but in C


_values = attrgetter(*TASK_FIELDS)


def _copy(task: Task) -> Task:
    return Task.restore(_values(task))


def _place(task: Task) -> _Place:
    return task.created_at, task.id


@dataclass(slots=True)
class _UserTasks:
    """One user's tasks, their places in order for each filter, and the user's counter."""

    by_id: dict[UUID, Task] = field(default_factory=dict)
    # Oldest first, so that a new task is appended; each filter has its own, so that no page scans past other tasks.
    places: dict[bool | None, list[_Place]] = field(default_factory=lambda: {None: [], True: [], False: []})
    counter: int = 0

    def store(self, task: Task) -> Task:
        """Give the task the next number and put it in its places, instead of the one with its id if there is one."""
        if before := self.by_id.get(task.id):
            self._take_out(before)
        self.counter += 1
        stored = replace(task, version=self.counter)
        self.by_id[task.id] = stored
        place = _place(stored)
        insort(self.places[None], place)
        insort(self.places[stored.is_completed], place)
        return stored

    def discard(self, task: Task) -> None:
        """Forget the task; the deletion takes a number too."""
        self.counter += 1
        del self.by_id[task.id]
        self._take_out(task)

    def _take_out(self, task: Task) -> None:
        place = _place(task)
        for places in (self.places[None], self.places[task.is_completed]):
            del places[bisect_left(places, place)]


class MemoryTaskRepository:
    """Keeps tasks in this process, for as long as this object lives.

    Atomic because no method gives way to another task of the event loop; not for use from several threads. What is kept
    is never handed out, only copies of it, so that not even a broken entity outside can change it.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._users: defaultdict[str, _UserTasks] = defaultdict(_UserTasks)

    async def add(self, task: Task) -> Task:
        """See TaskRepository.add."""
        user = self._users[task.user_id]
        if task.id in user.by_id:
            raise TaskAlreadyExists
        return _copy(user.store(task))

    async def get(self, user_id: str, task_id: UUID) -> Task:
        """See TaskRepository.get."""
        return _copy(self._find(user_id, task_id))

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        """See TaskRepository.list. Costs a binary search and the page itself, however many tasks there are."""
        user = self._users.get(user_id)
        if user is None:
            return TaskPage(tasks=(), next=None)
        places = user.places[page.completed]
        after = page.after
        end = bisect_left(places, (after.created_at, after.id)) if after else len(places)
        newest_first = reversed(places[max(0, end - page.limit - 1) : end])
        return TaskPage.cut([_copy(user.by_id[task_id]) for _, task_id in newest_first], page.limit)

    async def save(self, task: Task) -> Task:
        """See TaskRepository.save."""
        stored = self._find(task.user_id, task.id)
        if stored.version != task.version:
            raise VersionConflict
        changed = replace(task, created_at=stored.created_at)
        return _copy(self._users[task.user_id].store(changed))

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        """See TaskRepository.remove."""
        stored = self._find(user_id, task_id)
        if expected_version not in (None, stored.version):
            raise VersionConflict
        self._users[user_id].discard(stored)

    def _find(self, user_id: str, task_id: UUID) -> Task:
        user = self._users.get(user_id)
        task = user.by_id.get(task_id) if user else None
        if task is None:
            raise TaskNotFound
        return task
