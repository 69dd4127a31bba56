"""What rows of results say."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from adapters.postgres.apply_statement import outcome
from application import (
    NOTHING,
    Applied,
    Change,
    Removal,
    State,
    StateMismatch,
    TaskAlreadyExists,
    TaskNotFound,
    VersionConflict,
    Write,
    WritesRejected,
    Written,
)
from application.writes import T
from domain import TASK_FIELDS, Task

TITLE_PLACE = TASK_FIELDS.index("title")


def outcome_of_write(task: T, row: asyncpg.Record) -> Written[T]:
    """Return the outcome of a write whose row has the new epoch and version."""
    return Written(task=task, state=State(epoch=row["epoch"], number=row["version"]))


def states(rows: Sequence[asyncpg.Record]) -> dict[str, State]:
    """Return the states of users, in the order of the rows."""
    return {user_id: State(epoch=epoch, number=number) for user_id, epoch, number in rows}


def applied(writes: Sequence[Write], rows: Sequence[asyncpg.Record]) -> Applied:
    """Return the outcome that the rows of APPLY describe. Raises StateMismatch and WritesRejected."""
    if not rows:
        raise StateMismatch
    if rows[0]["fault"] is None:
        return outcome(writes, State(epoch=rows[0]["epoch"], number=rows[0]["version"]))
    errors = {"exists": TaskAlreadyExists, "missing": TaskNotFound}
    raise WritesRejected(
        {
            row["n"] - 1: errors[row["fault"]]() if row["fault"] in errors else VersionConflict(row["version"])
            for row in rows
        }
    )


def beside_counter(rows: Sequence[asyncpg.Record]) -> tuple[State, Sequence[asyncpg.Record]]:
    """Return the state that each row begins with, and the rows; none if the first one consists of the state only."""
    first = rows[0]
    state = NOTHING if first["epoch"] is None else State(epoch=first["epoch"], number=first["value"])
    return state, [] if first["id"] is None else rows


def change(values: Sequence[Any]) -> Change:
    """Return the change that values in the order of TASK_FIELDS describe; a removal has no title."""
    task = Task.restore(values)
    is_removal: bool = values[TITLE_PLACE] is None
    return Removal(id=task.id, version=task.version) if is_removal else task
