"""Calls of a repository that tests repeat."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from hextasks import (
    NOTHING,
    ApplicationError,
    DomainError,
    PageRequest,
    Position,
    State,
    Task,
    TaskRepository,
    WritesRejected,
)
from hextasks.testing.builders import NOW, a_task

__all__ = ["LATER", "NOW", "a_task", "add", "outcome", "purge", "save", "state_of", "walk"]

LATER = NOW + timedelta(seconds=1)


async def add(tasks: TaskRepository, task: Task) -> Task:
    """Add a task, and return it as it was stored."""
    return (await tasks.add(task)).task


async def save(tasks: TaskRepository, task: Task) -> Task:
    """Save a task, and return it as it was stored."""
    return (await tasks.save(task)).task


async def walk(tasks: TaskRepository, user_id: str, limit: int, completed: bool | None = None) -> list[Task]:
    """Read all pages of a list."""
    found: list[Task] = []
    after: Position | None = None
    while True:
        page = await tasks.list(user_id, PageRequest(limit=limit, after=after, completed=completed))
        assert len(page.tasks) <= limit
        found += page.tasks
        if page.next is None:
            return found
        after = page.next


async def state_of(tasks: TaskRepository, user: str = "ada") -> State:
    """Return the state of a user."""
    return (await tasks.states([user])).get(user, NOTHING)


async def outcome(call: Awaitable[Any]) -> Any:
    """Return what a call returns, or all that its error says."""
    try:
        return await call
    except WritesRejected as rejected:
        return {place: (type(error), vars(error)) for place, error in rejected.errors.items()}
    except (ApplicationError, DomainError) as error:
        return type(error), str(error), vars(error)


async def purge(tasks: TaskRepository, seconds: float, limit: int = 500) -> int:
    """Purge what is older than some seconds after NOW."""
    before = NOW + timedelta(seconds=seconds)
    return await tasks.purge(removed_before=before, keys_before=before, limit=limit)
