"""The operations that share statements: their statements, their arguments, and what a row says of one call."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import asyncpg

from adapters.postgres.call_queue import Call
from adapters.postgres.statement import Statement
from adapters.postgres.statements import title_key
from application import ApplicationError, TaskAlreadyExists, TaskNotFound, VersionConflict
from domain import Task

Outcome: TypeAlias = asyncpg.Record | ApplicationError | None


class SharedOperation:
    """The statements of an operation: the one for a single call, and the one for many."""

    __slots__ = ("_order", "_user_place", "alone", "outcome", "together")

    def __init__(
        self,
        alone: Statement,
        together: Statement,
        outcome: Callable[[asyncpg.Record | None], Outcome],
        *,
        one_user: bool,
    ) -> None:
        self.alone = alone
        self.together = together
        self.outcome = outcome
        self._order = [alone.parameters.index(name) for name in together.parameters]
        self._user_place = together.parameters.index("user_id") if one_user else None

    def arguments(self, calls: Sequence[Call]) -> list[Any]:
        """Return the arguments of the statement for many."""
        columns = [*zip(*[call.arguments for call in calls], strict=True)]
        arguments: list[Any] = [columns[place] for place in self._order]
        if self._user_place is not None:
            arguments[self._user_place] = calls[0].user_id
        return arguments


def arguments_of(statement: Statement) -> Callable[[Task], tuple[Any, ...]]:
    """Return a function that returns a statement's arguments for a task: fields of it, and its search key."""
    place = statement.parameters.index("title_key")
    fields = attrgetter(*(name for name in statement.parameters if name != "title_key"))

    def arguments(task: Task) -> tuple[Any, ...]:
        values = fields(task)
        return (*values[:place], title_key(task.title), *values[place:])

    return arguments


def read(row: asyncpg.Record | None) -> Outcome:
    """Return the outcome of a read."""
    return TaskNotFound() if row is None else row


def added(row: asyncpg.Record | None) -> Outcome:
    """Return the outcome of an addition; None if the statement did nothing about it."""
    return row if row is None or row["is_done"] else TaskAlreadyExists()


def written(row: asyncpg.Record | None) -> Outcome:
    """Return the outcome of a save or a removal; None if the statement did nothing about it."""
    if row is None or row["is_done"]:
        return row
    return TaskNotFound() if row["version"] is None else VersionConflict(row["version"])
