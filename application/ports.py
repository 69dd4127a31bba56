"""The ports of the use-cases. These docstrings are the contract that every adapter keeps."""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from application.changes import ChangePage
from application.pages import PageRequest, TaskPage
from application.states import State
from application.writes import Applied, Once, Write, Written
from domain import Task


class TaskRepository(Protocol):
    """Keeps tasks, each under its owner. Every method is atomic by itself and safe to call concurrently.

    Each user has one counter with an epoch. Every write that changes something takes that user's next number, strictly
    greater than all before and never given twice in one epoch, though one may be left out, and the task carries the
    number of its last change as `version`. Numbers become visible in their order. A rejected write changes nothing.
    A write raises TaskContended when too many writes of the same user are queued before it; so does a search, which is
    `list` with a text, behind other searches.

    Every method raises StorageUnavailable when the storage cannot be reached or does not respond in time; a read is
    then safe to repeat, a write may or may not have happened. It raises InvalidTask when a task's id is not a UUID.
    Times are returned to the microsecond, with `datetime.UTC`.

    An adapter is a subclass: it inherits these docstrings, and cannot be instantiated while it lacks a method.
    """

    @abstractmethod
    async def add(self, task: Task) -> Written[Task]:
        """Store a new task and return it with the version it was given.

        Raises TaskAlreadyExists when its owner has a task with this id, or has deleted one and its deletion is kept.
        """
        ...

    @abstractmethod
    async def get(self, user_id: str, task_id: UUID) -> Task:
        """Return the user's task as it was last stored. Raises TaskNotFound."""
        ...

    @abstractmethod
    async def get_many(self, user_id: str, task_ids: Collection[UUID]) -> dict[UUID, Task]:
        """Return those of the user's tasks that exist."""
        ...

    @abstractmethod
    async def list(self, user_id: str, page: PageRequest, *, known: State | None = None) -> TaskPage:
        """Return a page of the user's tasks, newest `created_at` first, equal ones by descending id.

        Reading all pages in turn returns every task that exists throughout exactly once, despite concurrent writes.
        If the user's state still is the `known` one, the page has that state and no tasks, because none is read.
        """
        ...

    @abstractmethod
    async def save(self, task: Task) -> Written[Task]:
        """Replace the stored task, except for its `created_at`, and return it with its new version.

        Raises VersionConflict unless the stored version is `task.version`, the one that was read, and TaskNotFound
        when the owner has no such task.
        """
        ...

    @abstractmethod
    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> Written[None]:
        """Delete the user's task permanently. Its deletion takes a number, and is kept until it is purged.

        Raises TaskNotFound, and VersionConflict when a version is expected and another is stored.
        """
        ...

    @abstractmethod
    async def apply(
        self,
        user_id: str,
        writes: Sequence[Write],
        *,
        now: datetime,
        once: Once | None = None,
        if_state: State | None = None,
    ) -> Applied:
        """Carry out all writes, each of another task of the user, or none of them.

        They take numbers in their order. With `once`, the outcome is stored under that key, in the same transaction.
        `now` is the time of deletions and of the key.

        Raises the first that applies of StateMismatch, when `if_state` is given and is not the user's state;
        WritesRejected with the errors of `add`, `save` and `remove` by the places of the writes; IdempotencyKeyUsed,
        when the user's key is stored already. TaskContended when other processes keep changing the same tasks.
        """
        ...

    @abstractmethod
    async def recall(self, user_id: str, once: Once) -> Applied | None:
        """Return the stored outcome of the user's key, or None. Raises IdempotencyKeyReused for another fingerprint."""
        ...

    @abstractmethod
    async def changes(self, user_id: str, *, since: State, limit: int) -> ChangePage:
        """Return up to `limit` changes after a state, in the order of their numbers.

        Each task appears once, as it is now or as deleted, so that a copy of the list as of `since` becomes the list as
        of `next`. Since NOTHING, only tasks are returned, and deletions that happen between the pages.

        Raises StateExpired when the state is of another epoch or ahead of the counter, or deletions after it were
        purged.
        """
        ...

    @abstractmethod
    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        """Return the states of those users whose tasks have ever changed."""
        ...

    @abstractmethod
    async def all_states(self, *, after: str, limit: int) -> dict[str, State]:
        """Return the states of up to `limit` users, the first whose ids are greater than `after`, in their order.

        Ids compare code point by code point; all are greater than "". Only users whose tasks have ever changed.
        """
        ...

    @abstractmethod
    async def purge(self, *, removed_before: datetime, keys_before: datetime, limit: int) -> int:
        """Forget up to `limit` of the oldest deletions and of the oldest idempotency keys before these times.

        Returns how many were forgotten. Users' floors follow the deletions, so that `changes` never leaves one out.
        """
        ...

    async def forget(self, user_id: str) -> int:  # noqa: ARG002
        """Delete a part of what is kept of a user: tasks, deletions, idempotency keys, and at last the counter.

        Returns how many records were deleted: more than 0 until nothing is left. From the first part on, `changes`
        raises StateExpired for every state before it, and no `known` state equals the user's; a later write begins
        with a new epoch. Not abstract, so that older adapters work; by default it raises NotImplementedError.
        """
        kind = type(self).__name__  # type checkers take a method that does nothing but raise for an abstract one
        raise NotImplementedError(f"{kind} cannot forget a user")


class Clock(Protocol):
    """Returns the time."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the present, aware and in UTC, with microseconds. It may step back, as real clocks do."""
        ...


class TaskIds(Protocol):
    """Generates the ids of new tasks."""

    @abstractmethod
    def new(self) -> UUID:
        """Return an id never returned before. Ids made later in one process compare greater."""
        ...
