"""Writes with an idempotency key, of which one is carried out."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from application.errors import ApplicationError, IdempotencyKeyReused, StorageUnavailable
from application.ports import TaskRepository
from application.writes import Applied, Once, Write, WritesRejected, Written
from domain import Task

Outcome = TypeVar("Outcome")


async def once_only(
    write: Awaitable[Outcome],
    *,
    tasks: TaskRepository,
    user_id: str,
    once: Once,
    outcome: Callable[[Applied], Outcome],
) -> Outcome:
    """Await a write; if it is rejected, return the outcome of the earlier one with the same key, if there is one.

    The key is looked up only then, so that a first try costs no more: a write that was carried out before meets its own
    key, or what it has changed itself. Raises what the write raises, and IdempotencyKeyReused.
    """
    try:
        return await write
    except StorageUnavailable:
        raise
    except ApplicationError:
        earlier = await tasks.recall(user_id, once)
        if earlier is None:
            raise
        return outcome(earlier)


async def apply_one(tasks: TaskRepository, write: Write, *, now: datetime, once: Once) -> Applied:
    """Carry out one write and store its outcome under a key. Raises the write's own error, and IdempotencyKeyUsed."""
    try:
        return await tasks.apply(write.task.user_id, [write], now=now, once=once)
    except WritesRejected as rejected:
        raise rejected.errors[0] from None


def written(applied: Applied) -> Written[Task]:
    """Return the outcome of one write that is not a removal. Raises IdempotencyKeyReused for any other."""
    match applied.results:
        case (Task() as task,):
            return Written(task=task, state=applied.changed_state, is_replayed=applied.is_replayed)
    raise IdempotencyKeyReused


def removed(applied: Applied) -> Written[None]:
    """Return the outcome of one removal."""
    return Written(task=None, state=applied.changed_state, is_replayed=applied.is_replayed)
