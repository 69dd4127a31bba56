"""The ports of the use-cases. These docstrings are the contract that every adapter keeps."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from application.pages import PageRequest, TaskPage
from domain import Task


class TaskRepository(Protocol):
    """Keeps tasks, each under its owner. Every method is atomic by itself and safe to call concurrently.

    Each user has one counter. Every write that changes something takes that user's next number, strictly greater
    than all before and never given twice, though one may be left out, and the task carries the number of its last
    change as `version`. A rejected write changes nothing. A write raises TaskContended when too many writes of the same
    user are queued before it.

    Every method raises StorageUnavailable when the storage cannot be reached or does not respond in time; a read is
    then safe to repeat, a write may or may not have happened.
    """

    async def add(self, task: Task) -> Task:
        """Store a new task and return it with the version it was given.

        Raises TaskAlreadyExists when its owner has a task with this id.
        """
        ...

    async def get(self, user_id: str, task_id: UUID) -> Task:
        """Return the user's task as it was last stored. Raises TaskNotFound."""
        ...

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        """Return a page of the user's tasks, newest `created_at` first, equal ones by descending id.

        Reading all pages in turn returns every task that exists throughout exactly once, despite concurrent writes.
        """
        ...

    async def save(self, task: Task) -> Task:
        """Replace the stored task, except for its `created_at`, and return it with its new version.

        Raises VersionConflict unless the stored version is `task.version`, the one that was read, and TaskNotFound
        when the owner has no such task.
        """
        ...

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        """Delete the user's task permanently. Its deletion takes a number and leaves a tombstone.

        Raises TaskNotFound, and VersionConflict when a version is expected and another is stored.
        """
        ...


class Clock(Protocol):
    """Returns the time."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC, with microseconds. It may step back, as real clocks do."""
        ...


class TaskIds(Protocol):
    """Generates the ids of new tasks."""

    def new(self) -> UUID:
        """Return an id never returned before. Ids made later in one process compare greater."""
        ...
