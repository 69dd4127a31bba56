"""The TaskRepository port over dictionaries, with the same results as the PostgreSQL adapter."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from adapters.memory.ordered import OrderedPlaces, place_of
from application import PageRequest, TaskAlreadyExists, TaskNotFound, TaskPage, VersionConflict
from domain import Task

_ID_BITS = (1 << 128) - 1


@dataclass(slots=True)
class _UserTasks:
    """One user's tasks, their order for each filter, and the user's counter."""

    by_id: dict[int, Task] = field(default_factory=dict)
    """By the number of their UUID, which is hashed and compared in C."""
    all: OrderedPlaces = field(default_factory=OrderedPlaces)
    # One list per filter, so that no page scans tasks of another state.
    by_state: dict[bool, OrderedPlaces] = field(default_factory=lambda: {True: OrderedPlaces(), False: OrderedPlaces()})
    counter: int = 0

    def add(self, task: Task) -> Task:
        """Store a new task with the next number."""
        self.counter += 1
        stored = self.by_id[task.id.int] = replace(task, version=self.counter)
        place = place_of(task.created_at, task.id)
        self.all.add(place)
        self.by_state[task.is_completed].add(place)
        return stored

    def save(self, before: Task, task: Task) -> Task:
        """Replace a task, with the next number."""
        self.counter += 1
        stored = replace(task, created_at=before.created_at, version=self.counter)
        self.by_id[task.id.int] = stored
        if stored.is_completed != before.is_completed:
            place = place_of(stored.created_at, stored.id)
            self.by_state[before.is_completed].remove(place)
            self.by_state[stored.is_completed].add(place)
        return stored

    def remove(self, task: Task) -> None:
        """Remove a task; the deletion takes a number too."""
        self.counter += 1
        del self.by_id[task.id.int]
        place = place_of(task.created_at, task.id)
        self.all.remove(place)
        self.by_state[task.is_completed].remove(place)

    def page(self, request: PageRequest) -> TaskPage:
        """Return a page, for the cost of a binary search and the page itself."""
        places = self.all if request.completed is None else self.by_state[request.completed]
        before = place_of(request.after.created_at, request.after.id) if request.after else None
        by_id = self.by_id
        tasks = [by_id[place & _ID_BITS] for place in places.newest(request.limit + 1, before=before)]
        return TaskPage.cut(tasks, request.limit)


class MemoryTaskRepository:
    """Keeps tasks in this process, for as long as this object lives.

    Atomic because no method yields to the event loop; not for use from several threads. Returns the
    tasks that it keeps, which are immutable.
    """

    def __init__(self) -> None:
        """Start without tasks."""
        self._users: defaultdict[str, _UserTasks] = defaultdict(_UserTasks)

    async def add(self, task: Task) -> Task:
        """See TaskRepository.add."""
        user = self._users[task.user_id]
        if task.id.int in user.by_id:
            raise TaskAlreadyExists
        return user.add(task)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        """See TaskRepository.get."""
        return self._find(user_id, task_id)

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        """See TaskRepository.list."""
        user = self._users.get(user_id)
        return user.page(page) if user else TaskPage(tasks=(), next=None)

    async def save(self, task: Task) -> Task:
        """See TaskRepository.save."""
        stored = self._find(task.user_id, task.id)
        if stored.version != task.version:
            raise VersionConflict
        return self._users[task.user_id].save(stored, task)

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        """See TaskRepository.remove."""
        task = self._find(user_id, task_id)
        if expected_version not in (None, task.version):
            raise VersionConflict
        self._users[user_id].remove(task)

    def _find(self, user_id: str, task_id: UUID) -> Task:
        user = self._users.get(user_id)
        task = user.by_id.get(task_id.int) if user else None
        if task is None:
            raise TaskNotFound
        return task
