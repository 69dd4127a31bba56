"""Keyset pages: a page starts where the one before it ended, so that writes between two pages shift nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from application.states import State
from domain import DomainError, Task
from domain.rules import TextRule

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
SEARCH_TEXT = TextRule("text", max_length=200)
"""The rule of the text of a search."""


class InvalidPage(DomainError):
    """`limit_out_of_range`: a page must have 1 to 500 tasks."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """A place in the order of a user's list. Larger is newer; tasks created at the same microsecond order by id."""

    created_at: datetime
    id: UUID

    @classmethod
    def of(cls, task: Task) -> Self:
        """Return the place of a task."""
        return cls(created_at=task.created_at, id=task.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """The requested part of a user's list. Raises InvalidPage when the limit is not from 1 to 500, and InvalidText."""

    limit: int = DEFAULT_PAGE_SIZE
    after: Position | None = None
    """The place where the previous page ended, itself excluded; None starts at the newest task."""
    completed: bool | None = None
    """True for completed tasks only, False for open ones only, None for both."""
    text: str | None = None
    """Only tasks whose title contains this text, 1 to 200 characters, regardless of case (`domain.search_key`)."""

    def __post_init__(self) -> None:
        check_limit(self.limit)
        if self.text is not None:
            SEARCH_TEXT.check(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """A part of a user's list, newest first."""

    tasks: tuple[Task, ...]
    next: Position | None
    """The end of this page, for `PageRequest.after`; None on the last page."""
    state: State
    """The user's state at which the page was read."""

    @classmethod
    def cut(cls, tasks: list[Task], limit: int, state: State) -> Self:
        """Make a page of `limit` tasks from up to `limit + 1`: the extra one only indicates that more follow."""
        page = tuple(tasks[:limit])
        return cls(tasks=page, next=Position.of(page[-1]) if len(tasks) > limit else None, state=state)


def check_limit(limit: int) -> None:
    """Accept the size of a page. Raises InvalidPage."""
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE_SIZE:
        detail = f"The limit must be a whole number from 1 to {MAX_PAGE_SIZE}."
        raise InvalidPage("limit_out_of_range", detail, field="limit")
