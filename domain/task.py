"""The Task entity and the value objects that create and change it. Each checks itself when it is made."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, Self
from uuid import UUID

from domain.errors import InvalidTask
from domain.rules import TITLE, USER_ID

_UTC_OFFSET = timedelta(0)


class Unchanged(Enum):
    """The type of UNCHANGED."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
"""In a TaskChange: leave this field as it is. Not None, which clears a field that may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDraft:
    """The owner's input for a new task. The title is stripped. Raises InvalidText."""

    title: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", TITLE.clean(self.title))

    @staticmethod
    def of(draft: "TaskDraft | str") -> "TaskDraft":
        """Return the draft itself, or one with a title and nothing else."""
        return draft if isinstance(draft, TaskDraft) else TaskDraft(title=draft)

    def describes(self, task: "Task") -> bool:
        """Whether the task has all values of the draft, so that it may have been created from it."""
        return all(getattr(task, field.name) == getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChange:
    """New values for some fields of a task. The title is stripped. Raises InvalidText and InvalidTask."""

    title: str | Unchanged = UNCHANGED
    is_completed: bool | Unchanged = UNCHANGED

    def __post_init__(self) -> None:
        if self.title is not UNCHANGED:
            object.__setattr__(self, "title", TITLE.clean(self.title))
        if self.is_completed is not UNCHANGED and not isinstance(self.is_completed, bool):
            raise _inconsistent("The completion must be true or false.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task of one user.

    Immutable: a change returns a new Task. Times are aware, in UTC, with microseconds, in the years 2 to 9998, and hold
    `created_at <= completed_at <= updated_at`. Raises InvalidText and InvalidTask.
    """

    id: UUID
    user_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    """When it was completed, the first time since it was last open; None while it is open."""
    version: int = 0
    """The number of its last stored change in its owner's count of changes; 0 before it is stored."""

    def __post_init__(self) -> None:
        USER_ID.check(self.user_id)
        TITLE.check(self.title)
        check_id(self.id)
        if type(self.version) is not int or self.version < 0:
            raise _inconsistent("The version must be a whole number from 0 up.")
        created_at, completed_at, updated_at = self.created_at, self.completed_at, self.updated_at
        if completed_at is None:
            completed_at = updated_at
        _check_utc(created_at, completed_at, updated_at)
        if not created_at <= completed_at <= updated_at:
            raise _inconsistent(
                "The creation must not come after the completion, nor the completion after the last change."
            )

    @classmethod
    def create(cls, draft: TaskDraft, *, id: UUID, user_id: str, now: datetime) -> Self:
        """Return a new, open task. Raises InvalidText, and InvalidTask when `now` is not in UTC."""
        return cls(id=id, user_id=user_id, title=draft.title, created_at=now, updated_at=now)

    @staticmethod
    def restore(values: Iterable[object]) -> "Task":
        """Return a task as it was stored, from the values of its fields in the order of TASK_FIELDS.

        The values are not checked again, because a repository stores only Tasks; to check them would dominate the cost
        of a page.
        """
        # A frozen class sets each slot through a call. Setting those of a class with the same slots, which then becomes
        # a Task, takes a quarter of the time.
        task: Any = _MutableTask()
        (
            task.id,
            task.user_id,
            task.title,
            task.created_at,
            task.updated_at,
            task.completed_at,
            task.version,
        ) = values
        task.__class__ = Task
        restored: Task = task
        return restored

    def stored(self, version: int, *, created_at: datetime | None = None) -> "Task":
        """Return this task, which was checked when it was made, as a repository has stored it."""
        fields = (self.id, self.user_id, self.title, created_at or self.created_at, self.updated_at, self.completed_at)
        return Task.restore((*fields, version))

    @property
    def is_completed(self) -> bool:
        """Whether the task is done: true exactly when `completed_at` is set."""
        return self.completed_at is not None

    def apply(self, change: TaskChange, *, now: datetime) -> Self:
        """Return the task as changed.

        Completing a completed task keeps the first `completed_at`; reopening clears it. A change without effect returns
        the same object, so neither `updated_at` nor `version` moves. Otherwise `updated_at` moves to `now`, and always
        forward, even where the clock stepped back. Raises InvalidTask when `now` is not in UTC.
        """
        _check_utc(now)
        moment = max(now, self.updated_at + datetime.resolution)
        title = self.title if change.title is UNCHANGED else change.title
        completed_at = self.completed_at
        if change.is_completed is not UNCHANGED and change.is_completed != self.is_completed:
            completed_at = moment if change.is_completed else None
        if (title, completed_at) == (self.title, self.completed_at):
            return self
        return replace(self, title=title, completed_at=completed_at, updated_at=moment)


TASK_FIELDS = tuple(field.name for field in fields(Task))
"""The names of a task's fields, in their order."""

_MutableTask: Any = type("_MutableTask", (), {"__slots__": TASK_FIELDS})


def check_id(task_id: UUID) -> None:
    """Accept a UUID as the id of a task. Raises InvalidTask."""
    if not isinstance(task_id, UUID):
        raise InvalidTask("id_not_uuid", "The id must be a UUID.", field="id")


def _check_utc(*moments: object) -> None:
    for moment in moments:
        if not isinstance(moment, datetime) or (moment.tzinfo is not UTC and moment.utcoffset() != _UTC_OFFSET):
            raise _inconsistent("Times must be aware and in UTC.")
        # The first moment and the last are infinity to a database driver, and nothing can change after the last one.
        if not MINYEAR < moment.year < MAXYEAR:
            raise _inconsistent("Times must be in the years 2 to 9998.")


def _inconsistent(rule: str) -> InvalidTask:
    return InvalidTask("task_inconsistent", rule)
