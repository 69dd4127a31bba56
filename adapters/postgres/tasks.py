"""The TaskRepository port over PostgreSQL: every operation is one statement, which concurrent calls share."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import asyncpg

from adapters.postgres.apply_statement import apply_arguments, decode_result, outcome
from adapters.postgres.calls import NO_ID, Calls, Coalescing
from adapters.postgres.executor import Executor
from adapters.postgres.forget_statements import forget
from adapters.postgres.operations import arguments_of
from adapters.postgres.purge_statements import purge
from adapters.postgres.rows import applied, beside_counter, change, outcome_of_write, states
from adapters.postgres.shared_statements import shared_statements
from adapters.postgres.statements import ADD, ALL_STATES, CHANGES, RECALL, REMOVE, SAVE, STATES, page_statement
from adapters.postgres.tables import idempotency_keys
from application import (
    NOTHING,
    Applied,
    ChangePage,
    IdempotencyKeyReused,
    IdempotencyKeyUsed,
    Once,
    PageRequest,
    State,
    TaskAlreadyExists,
    TaskContended,
    TaskNotFound,
    TaskPage,
    TaskRepository,
    VersionConflict,
    Write,
    Written,
)
from application.changes import check_since
from domain import Task, check_id, search_key

MAX_RACES = 8
"""Attempts to carry out many writes while other processes write the same tasks."""
MAX_NUMBER = 2**63 - 1

_GET_MANY = shared_statements(one_user=True).get
_arguments_of_add = arguments_of(ADD)
_arguments_of_save = arguments_of(SAVE)


class PostgresTaskRepository(TaskRepository):
    """Keeps tasks in the `tasks`, `task_counters` and `task_tombstones` tables of a migrated database."""

    def __init__(self, database: Executor, *, coalescing: Coalescing | None = "all") -> None:
        """Work on a database, which its owner closes. `coalescing` says whose calls share statements."""
        self._database = database
        self.share(coalescing)

    def share(self, coalescing: Coalescing | None) -> None:
        """Choose whose calls share statements, before the first call: on distributed tables only those of one user.

        None is for a transaction: each call runs in its caller's task, and ends before it.
        """
        self.calls = Calls(self._database, coalescing)

    async def add(self, task: Task) -> Written[Task]:
        row = await self.calls.write(self.calls.add, task.user_id, task.id, _arguments_of_add(task))
        if row is None:
            raise TaskAlreadyExists
        return outcome_of_write(task.stored(row["version"]), row)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        check_id(task_id)
        row = await self.calls.get(user_id, task_id)
        if row is None:
            raise TaskNotFound
        return Task.restore(row)

    async def get_many(self, user_id: str, task_ids: Collection[UUID]) -> dict[UUID, Task]:
        for each in task_ids:
            check_id(each)
        arguments = _GET_MANY.arguments({"user_id": user_id, "id": [*task_ids]})
        return {row["id"]: Task.restore(row) for row in await self._database.fetch(_GET_MANY, arguments)}

    async def list(self, user_id: str, page: PageRequest, *, known: State | None = None) -> TaskPage:
        # An index yields the page in order, with nothing to sort.
        statement = page_statement(page.completed, after=page.after is not None, search=page.text is not None)
        values = {
            "user_id": user_id,
            "limit": page.limit + 1,
            "known_epoch": known and known.epoch,
            "known_number": known and known.number,
            "after_created_at": page.after and page.after.created_at,
            "after_id": page.after and page.after.id,
            "text": page.text and search_key(page.text),
        }
        arguments = statement.arguments(values)
        if page.text is None:
            found = await self._database.fetch(statement, arguments)
        else:
            found = await self.calls.search(statement, user_id, arguments)
        state, rows = beside_counter(found)
        return TaskPage.cut([Task.restore(row[2:]) for row in rows], page.limit, state)

    async def save(self, task: Task) -> Written[Task]:
        row = await self.calls.write(self.calls.save, task.user_id, task.id, _arguments_of_save(task))
        if row is None:
            stored = await self.get(task.user_id, task.id)  # raises TaskNotFound if that is the reason
            raise VersionConflict(stored.version)
        return outcome_of_write(task.stored(row["version"], created_at=row["created_at"]), row)

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> Written[None]:
        check_id(task_id)
        values = {"user_id": user_id, "id": task_id, "version": expected_version, "removed_at": removed_at}
        row = await self.calls.write(self.calls.remove, user_id, task_id, tuple(REMOVE.arguments(values)))
        if row is None:
            if expected_version is None:
                raise TaskNotFound
            raise VersionConflict((await self.get(user_id, task_id)).version)
        return outcome_of_write(None, row)

    async def apply(
        self,
        user_id: str,
        writes: Sequence[Write],
        *,
        now: datetime,
        once: Once | None = None,
        if_state: State | None = None,
    ) -> Applied:
        arguments = tuple(apply_arguments(user_id, writes, now=now, once=once, if_state=if_state))
        for _ in range(MAX_RACES):
            try:
                rows = await self.calls.write(self.calls.apply, user_id, NO_ID, arguments, alone=True)
            except asyncpg.UniqueViolationError as error:
                if error.constraint_name == idempotency_keys.primary_key.name:
                    raise IdempotencyKeyUsed from None
            except asyncpg.DivisionByZeroError:
                pass  # another process was faster; the next try sees what it has changed
            except asyncpg.InternalServerError:
                if once and await self._database.fetch(RECALL, (user_id, once.key)):
                    raise IdempotencyKeyUsed from None
                raise
            else:
                return applied(writes, rows)
        raise TaskContended

    async def recall(self, user_id: str, once: Once) -> Applied | None:
        rows = await self._database.fetch(RECALL, (user_id, once.key))
        if not rows:
            return None
        fingerprint, epoch, number, result = rows[0]
        if fingerprint != once.fingerprint:
            raise IdempotencyKeyReused
        return replace(outcome(decode_result(result), State(epoch=epoch, number=number)), is_replayed=True)

    async def changes(self, user_id: str, *, since: State, limit: int) -> ChangePage:
        values = {
            "user_id": user_id,
            "number": since.number,
            "removals_after": MAX_NUMBER if since == NOTHING else max(since.number, since.began),
            "limit": limit + 1,
        }
        rows = await self._database.fetch(CHANGES, CHANGES.arguments(values))
        state, found = beside_counter(rows)
        check_since(since, state, purged_to=rows[0]["purged_to"] or 0)
        return ChangePage.cut([change(row[3:]) for row in found], limit=limit, since=since, state=state)

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        return states(await self._database.fetch(STATES, ([*user_ids],)))

    async def all_states(self, *, after: str, limit: int) -> dict[str, State]:
        # A range of the primary key; on a sharded database, of every shard.
        return states(await self._database.fetch(ALL_STATES, ALL_STATES.arguments({"after": after, "limit": limit})))

    async def purge(self, *, removed_before: datetime, keys_before: datetime, limit: int) -> int:
        return await purge(self._database, removed_before=removed_before, keys_before=keys_before, limit=limit)

    async def forget(self, user_id: str) -> int:
        return await forget(self._database, user_id)
