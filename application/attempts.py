"""Attempts: a write on the newest version of a task, while others write it, too."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from application.errors import TaskContended, VersionConflict
from application.ports import TaskRepository
from domain import Task

MAX_ATTEMPTS = 32
"""Of N concurrent writers at least one succeeds in each round, so this many always succeed."""
Outcome = TypeVar("Outcome")


async def write_newest(
    write: Callable[[Task], Awaitable[Outcome]],
    *,
    tasks: TaskRepository,
    user_id: str,
    task_id: UUID,
    expected_version: int | None,
) -> Outcome:
    """Read a task and write it; once more while the write raises VersionConflict, unless a version is expected.

    Raises VersionConflict for another version than the expected one, TaskNotFound, TaskContended when no attempt
    succeeds, and what `write` raises.
    """
    for _ in range(MAX_ATTEMPTS):
        task = await tasks.get(user_id, task_id)
        if expected_version not in (None, task.version):
            raise VersionConflict(task.version)
        try:
            return await write(task)
        except VersionConflict:
            if expected_version is not None:
                raise
    raise TaskContended
