"""Writes with an idempotency key, of which one is carried out."""

from collections.abc import Awaitable
from datetime import datetime

from application.errors import ApplicationError, StorageUnavailable
from application.ports import TaskRepository
from application.states import State
from application.writes import Applied, Once, Write, WritesRejected, Written
from domain import Task


async def once_only(write: Awaitable[Applied], *, tasks: TaskRepository, user_id: str, once: Once | None) -> Applied:
    """Await a write; if it is rejected, return the outcome of the earlier one with the same key, if there is one.

    The key is looked up only then, so that a first try costs no more: a write that was carried out before meets its own
    key, or what it has changed itself. Raises what the write raises, and IdempotencyKeyReused.
    """
    try:
        return await write
    except StorageUnavailable:
        raise
    except ApplicationError:
        earlier = await tasks.recall(user_id, once) if once else None
        if earlier is None:
            raise
        return earlier


async def apply_one(tasks: TaskRepository, write: Write, *, now: datetime, once: Once) -> Applied:
    """Carry out one write and store its outcome under a key. Raises the write's own error, and IdempotencyKeyUsed."""
    try:
        return await tasks.apply(write.task.user_id, [write], now=now, once=once)
    except WritesRejected as rejected:
        raise rejected.errors[0] from None


def written(applied: Applied) -> Written[Task]:
    """Return the outcome of one write that is not a removal."""
    (task,) = applied.results
    assert isinstance(task, Task)  # noqa: S101
    return Written(task=task, state=changed_state(applied), is_replayed=applied.is_replayed)


def changed_state(applied: Applied) -> State | None:
    """Return the state after the writes, or None where they changed nothing."""
    return applied.state if applied.has_changed else None
