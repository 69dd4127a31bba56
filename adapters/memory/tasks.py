"""The TaskRepository port over dictionaries, with the same results as the PostgreSQL adapter."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from adapters.memory.ordered import Entry, OrderedEntries
from application import PageRequest, TaskAlreadyExists, TaskNotFound, TaskPage, VersionConflict
from domain import Task


@dataclass(slots=True)
class _UserTasks:
    """One user's tasks, in order for each filter, and the user's counter."""

    by_id: dict[UUID, Entry] = field(default_factory=dict)
    all: OrderedEntries = field(default_factory=OrderedEntries)
    # One list per filter, so that no page scans tasks of another state.
    by_state: dict[bool, OrderedEntries] = field(
        default_factory=lambda: {True: OrderedEntries(), False: OrderedEntries()}
    )
    counter: int = 0

    def add(self, task: Task) -> Task:
        """Store a new task with the next number."""
        self.counter += 1
        stored = replace(task, version=self.counter)
        entry = self.by_id[task.id] = [task.created_at, task.id, stored]
        self.all.add(entry)
        self.by_state[task.is_completed].add(entry)
        return stored

    def save(self, entry: Entry, task: Task) -> Task:
        """Put a task into an entry, with the next number."""
        self.counter += 1
        stored, before = replace(task, created_at=entry[0], version=self.counter), entry[2]
        entry[2] = stored
        if stored.is_completed != before.is_completed:
            self.by_state[before.is_completed].remove(entry)
            self.by_state[stored.is_completed].add(entry)
        return stored

    def remove(self, entry: Entry) -> None:
        """Remove an entry; the deletion takes a number too."""
        self.counter += 1
        _, task_id, task = entry
        del self.by_id[task_id]
        self.all.remove(entry)
        self.by_state[task.is_completed].remove(entry)


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
        if task.id in user.by_id:
            raise TaskAlreadyExists
        return user.add(task)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        """See TaskRepository.get."""
        task: Task = self._find(user_id, task_id)[2]
        return task

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        """See TaskRepository.list. Costs a binary search and the page itself, for any number of tasks."""
        user = self._users.get(user_id)
        if user is None:
            return TaskPage(tasks=(), next=None)
        entries = user.all if page.completed is None else user.by_state[page.completed]
        before = [page.after.created_at, page.after.id] if page.after else None
        return TaskPage.cut([entry[2] for entry in entries.newest(page.limit + 1, before=before)], page.limit)

    async def save(self, task: Task) -> Task:
        """See TaskRepository.save."""
        entry = self._find(task.user_id, task.id)
        if entry[2].version != task.version:
            raise VersionConflict
        return self._users[task.user_id].save(entry, task)

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        """See TaskRepository.remove."""
        entry = self._find(user_id, task_id)
        if expected_version not in (None, entry[2].version):
            raise VersionConflict
        self._users[user_id].remove(entry)

    def _find(self, user_id: str, task_id: UUID) -> Entry:
        user = self._users.get(user_id)
        entry = user.by_id.get(task_id) if user else None
        if entry is None:
            raise TaskNotFound
        return entry
