"""The TaskRepository port over PostgreSQL: every operation is one statement, which concurrent calls share."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg

from adapters.postgres.call_queue import Call
from adapters.postgres.coalescing import Coalescer
from adapters.postgres.database import Database
from adapters.postgres.errors import DID_NOTHING, fault
from adapters.postgres.shared_statements import SharedStatements
from adapters.postgres.statement import Statement
from adapters.postgres.statements import ADD, GET, REMOVE, SAVE, page_statement
from application import (
    ApplicationError,
    PageRequest,
    StorageUnavailable,
    TaskAlreadyExists,
    TaskNotFound,
    TaskPage,
    VersionConflict,
)
from domain import Task

Coalescing = Literal["all", "user", "off"]
"""Whose calls may share a statement: those of all users, only those of one user, or none."""

MOST_UNDER_WAY = 2
"""Shared statements of each kind, reads and writes, that run at a time."""
ENOUGH_CALLS = 16
"""So many start the second one; fewer wait for the end of the first, which takes 10 to 20 % less processor time."""

_Outcome: TypeAlias = asyncpg.Record | ApplicationError | None
_arguments_of_add = attrgetter(*ADD.parameters)
_arguments_of_save = attrgetter(*SAVE.parameters)


class _Operation:
    """The statements of an operation: the one for a single call, and the one for many."""

    __slots__ = ("_order", "_user_place", "alone", "outcome", "together")

    def __init__(
        self,
        alone: Statement,
        together: Statement,
        outcome: Callable[[asyncpg.Record | None], _Outcome],
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


class PostgresTaskRepository:
    """Keeps tasks in the `tasks`, `task_counters` and `task_tombstones` tables of a migrated database."""

    def __init__(self, database: Database, *, coalescing: Coalescing = "all") -> None:
        """Work on a database, which its owner closes.

        On a database that is sharded by `user_id`, only calls of one user can share a statement.
        """
        self._database = database
        one_user = coalescing == "user"
        shared = SharedStatements(one_user=one_user)
        self._get = _Operation(GET, shared.get, _read, one_user=one_user)
        self._add = _Operation(ADD, shared.add, _added, one_user=one_user)
        self._save = _Operation(SAVE, shared.save, _written, one_user=one_user)
        self._remove = _Operation(REMOVE, shared.remove, _written, one_user=one_user)
        self._is_shared = coalescing != "off"
        mixes_users = coalescing != "user"
        # One user at a time needs many statements at once, for which the pool has a bound of its own.
        most_under_way, enough = (MOST_UNDER_WAY, ENOUGH_CALLS) if mixes_users else (sys.maxsize, 1)
        self._reads = Coalescer(
            self._run_together,
            self._run_alone,
            timeout=database.timeout,
            is_read=True,
            mixes_users=mixes_users,
            most_under_way=most_under_way,
            enough=enough,
        )
        self._writes = Coalescer(
            self._run_together if self._is_shared else None,
            self._run_alone,
            timeout=database.timeout,
            mixes_users=mixes_users,
            most_under_way=most_under_way,
            enough=enough,
        )

    async def add(self, task: Task) -> Task:
        """See TaskRepository.add."""
        row = await self._writes.call(self._add, task.user_id, task.id, _arguments_of_add(task))
        return replace(task, version=row["version"])

    async def get(self, user_id: str, task_id: UUID) -> Task:
        """See TaskRepository.get."""
        if self._is_shared:
            row = await self._reads.call(self._get, user_id, task_id, (user_id, task_id))
        else:
            rows = await self._database.fetch(GET, (user_id, task_id))
            row = rows[0] if rows else None
        if row is None:
            raise TaskNotFound
        return Task.restore(row)

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        """See TaskRepository.list. Not shared; an index yields the page in order, with nothing to sort."""
        statement = page_statement(page.completed, after=page.after is not None)
        after = {"after_created_at": page.after.created_at, "after_id": page.after.id} if page.after else {}
        arguments = statement.arguments({"user_id": user_id, "limit": page.limit + 1, **after})
        rows = await self._database.fetch(statement, arguments)
        return TaskPage.cut([Task.restore(row) for row in rows], page.limit)

    async def save(self, task: Task) -> Task:
        """See TaskRepository.save."""
        row = await self._writes.call(self._save, task.user_id, task.id, _arguments_of_save(task))
        if row is None:
            await self.get(task.user_id, task.id)  # raises TaskNotFound if that is the reason
            raise VersionConflict
        return replace(task, created_at=row["created_at"], version=row["version"])

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        """See TaskRepository.remove."""
        values = {"user_id": user_id, "id": task_id, "version": expected_version, "removed_at": removed_at}
        row = await self._writes.call(self._remove, user_id, task_id, tuple(REMOVE.arguments(values)))
        if row is None:
            if expected_version is None:
                raise TaskNotFound
            await self.get(user_id, task_id)
            raise VersionConflict

    async def _run_alone(self, call: Call) -> asyncpg.Record | None:
        """Run an operation's own statement, which waits for locks. None means that no row was read or written."""
        try:
            rows = await self._database.fetch(call.operation.alone, call.arguments, deadline=call.deadline)
        except asyncpg.UniqueViolationError:
            raise TaskAlreadyExists from None
        return rows[0] if rows else None

    async def _run_together(self, calls: Sequence[Call], deadline: float) -> Sequence[Any]:
        operation: _Operation = calls[0].operation
        try:
            rows = await self._database.fetch(operation.together, operation.arguments(calls), deadline=deadline)
        except StorageUnavailable as error:
            if fault(error.__cause__) not in DID_NOTHING:
                return [_copy(error) for _ in calls]
            return [None] * len(calls)
        except asyncpg.PostgresError:  # because of one of the calls
            return [None] * len(calls)
        found = {(row["user_id"], row["id"]): row for row in rows}
        return [operation.outcome(found.get((call.user_id, call.task_id))) for call in calls]


def _read(row: asyncpg.Record | None) -> _Outcome:
    return TaskNotFound() if row is None else row


def _added(row: asyncpg.Record | None) -> _Outcome:
    return row if row is None or row["is_done"] else TaskAlreadyExists()


def _written(row: asyncpg.Record | None) -> _Outcome:
    if row is None or row["is_done"]:
        return row
    return TaskNotFound() if row["version"] is None else VersionConflict()


def _copy(error: StorageUnavailable) -> StorageUnavailable:
    """Copy an exception for another caller, because raising it adds to its traceback."""
    copy = StorageUnavailable(*error.args)
    copy.__cause__ = error.__cause__
    return copy
