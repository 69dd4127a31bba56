"""The Task entity, which guards itself: a wrong Task cannot be built, and every change goes through `change`."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from domain.errors import InvalidTask, InvalidTitle
from domain.rules import check_user_id, clean_title

_UTC_OFFSET = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something one user means to do.

    Immutable: a change returns a new Task. Times are aware, in UTC, with microseconds, and hold
    `created_at <= completed_at <= updated_at`. Raises a DomainError when the attributes break a rule.
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
        check_user_id(self.user_id)
        if clean_title(self.title) != self.title:
            raise InvalidTitle("title_not_stripped", "The title must have no white space at its ends.")
        _require(isinstance(self.id, UUID), "The id must be a UUID.")
        _require(type(self.version) is int and self.version >= 0, "The version must be a whole number from 0 up.")
        completed_at = self.updated_at if self.completed_at is None else self.completed_at
        for moment in (self.created_at, completed_at, self.updated_at):
            _require(_is_utc(moment), "Times must be aware and in UTC.")
        _require(
            self.created_at <= completed_at <= self.updated_at,
            "The creation must not come after the completion, nor the completion after the last change.",
        )

    @classmethod
    def create(cls, *, id: UUID, user_id: str, title: str, now: datetime) -> Self:
        """Return a new, open task whose title is stripped. Raises InvalidTitle or InvalidUserId."""
        return cls(id=id, user_id=user_id, title=clean_title(title), created_at=now, updated_at=now)

    @property
    def is_completed(self) -> bool:
        """Whether the task is done: true exactly when `completed_at` is set."""
        return self.completed_at is not None

    def change(self, *, now: datetime, title: str | None = None, is_completed: bool | None = None) -> Self:
        """Return the task with a new title, a new state or both; None leaves that part alone.

        Completing a completed task keeps the first `completed_at`; reopening clears it. Where nothing
        differs the same object comes back, so neither `updated_at` nor `version` moves. Otherwise `updated_at`
        moves to `now`, and always forward, even where the clock stepped back. Raises InvalidTitle, and InvalidTask
        when `now` is not in UTC.
        """
        new_title = self.title if title is None else clean_title(title)
        new_state = self.is_completed if is_completed is None else is_completed
        if new_title == self.title and new_state == self.is_completed:
            return self
        _require(_is_utc(now), "Times must be aware and in UTC.")
        moment = max(now, self.updated_at + datetime.resolution)
        completed_at = (self.completed_at or moment) if new_state else None
        return replace(self, title=new_title, completed_at=completed_at, updated_at=moment)

    def rename(self, title: str, *, now: datetime) -> Self:
        """Return the task under another title; see `change`."""
        return self.change(now=now, title=title)

    def complete(self, *, now: datetime) -> Self:
        """Return the task completed; see `change`."""
        return self.change(now=now, is_completed=True)

    def reopen(self, *, now: datetime) -> Self:
        """Return the task open again; see `change`."""
        return self.change(now=now, is_completed=False)


def _is_utc(moment: object) -> bool:
    return isinstance(moment, datetime) and moment.utcoffset() == _UTC_OFFSET


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise InvalidTask("task_inconsistent", rule)
