"""The TaskRepository port over PostgreSQL: every operation is one statement, which concurrent calls share."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

import asyncpg

from adapters.postgres.apply_statement import APPLY, apply_arguments, decode_result, outcome
from adapters.postgres.call_queue import Call
from adapters.postgres.coalescing import Coalescer, Direct
from adapters.postgres.errors import DID_NOTHING, copied, fault
from adapters.postgres.executor import Executor
from adapters.postgres.forget_statements import forget
from adapters.postgres.operations import Operation, added, arguments_of, read, written
from adapters.postgres.purge_statements import purge
from adapters.postgres.rows import applied, beside_counter, change, outcome_of_write, states
from adapters.postgres.shared_statements import SharedStatements
from adapters.postgres.statements import ADD, ALL_STATES, CHANGES, GET, RECALL, REMOVE, SAVE, STATES, page_statement
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
    StorageUnavailable,
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

Coalescing = Literal["all", "user", "off"]
"""Whose calls may share a statement: those of all users, only those of one user, or none."""

MOST_UNDER_WAY = 2
"""Shared statements of each kind, reads and writes, that run at a time."""
ENOUGH_CALLS = 16
"""So many start the second one; fewer wait for the end of the first, which takes 10 to 20 % less processor time."""
MAX_RACES = 8
"""Attempts to carry out many writes while other processes write the same tasks."""
MAX_NUMBER = 2**63 - 1

_GET_MANY = SharedStatements(one_user=True).get
_NO_ID = UUID(int=0)
_arguments_of_add = arguments_of(ADD)
_arguments_of_save = arguments_of(SAVE)


class PostgresTaskRepository(TaskRepository):
    """Keeps tasks in the `tasks`, `task_counters` and `task_tombstones` tables of a migrated database."""

    def __init__(self, database: Executor, *, coalescing: Coalescing | None = "all", callers: bool = False) -> None:
        """Work on a database, which its owner closes. `callers` keeps those of calls, for a CallerObserver."""
        self._database = database
        self._keeps_callers = callers
        self.share(coalescing)

    def share(self, coalescing: Coalescing | None) -> None:
        """Choose whose calls share statements, before the first call: on distributed tables only those of one user.

        None is for a transaction, which runs a statement at a time: each call runs in its caller's task and ends first.
        """
        database = self._database
        one_user = coalescing == "user"
        shared = SharedStatements(one_user=one_user)
        self._get = Operation(GET, shared.get, read, one_user=one_user)
        self._add = Operation(ADD, shared.add, added, one_user=one_user)
        self._save = Operation(SAVE, shared.save, written, one_user=one_user)
        self._remove = Operation(REMOVE, shared.remove, written, one_user=one_user)
        self._apply = Operation(APPLY, APPLY, written, one_user=False)
        self._is_shared = coalescing in ("all", "user")
        mixes_users = coalescing != "user"
        # One user at a time needs many statements at once, for which the pool has a bound of its own.
        most_under_way, enough = (MOST_UNDER_WAY, ENOUGH_CALLS) if mixes_users else (sys.maxsize, 1)
        coalescer = partial(Coalescer, timeout=database.timeout, keeps_callers=self._keeps_callers)
        shared_calls = partial(coalescer, mixes_users=mixes_users, most_under_way=most_under_way, enough=enough)
        self._reads = shared_calls(self._run_together, self._run_alone, is_read=True)
        self._writes: Coalescer | Direct
        self._searches: Coalescer | Direct
        if coalescing is None:
            self._writes = Direct(self._run_alone, timeout=database.timeout)
            self._searches = Direct(self._search, timeout=database.timeout)
        else:
            self._writes = shared_calls(self._run_together if self._is_shared else None, self._run_alone)
            # One user's searches, which may each read all of the user's tasks, run one after another.
            self._searches = coalescer(None, self._search, is_read=True, mixes_users=False)
        kinds = {"read": self._reads, "write": self._writes}
        self.coalescers = {kind: each for kind, each in kinds.items() if isinstance(each, Coalescer)}
        """What shares the statements of reads and of writes."""

    async def add(self, task: Task) -> Written[Task]:
        row = await self._writes.call(self._add, task.user_id, task.id, _arguments_of_add(task))
        if row is None:
            raise TaskAlreadyExists
        return outcome_of_write(task.stored(row["version"]), row)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        check_id(task_id)
        if self._is_shared:
            row = await self._reads.call(self._get, user_id, task_id, (user_id, task_id))
        else:
            rows = await self._database.fetch(GET, (user_id, task_id))
            row = rows[0] if rows else None
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
            found = await self._searches.call(statement, user_id, _NO_ID, tuple(arguments))
        state, rows = beside_counter(found)
        return TaskPage.cut([Task.restore(row[2:]) for row in rows], page.limit, state)

    async def save(self, task: Task) -> Written[Task]:
        row = await self._writes.call(self._save, task.user_id, task.id, _arguments_of_save(task))
        if row is None:
            stored = await self.get(task.user_id, task.id)  # raises TaskNotFound if that is the reason
            raise VersionConflict(stored.version)
        return outcome_of_write(task.stored(row["version"], created_at=row["created_at"]), row)

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> Written[None]:
        check_id(task_id)
        values = {"user_id": user_id, "id": task_id, "version": expected_version, "removed_at": removed_at}
        row = await self._writes.call(self._remove, user_id, task_id, tuple(REMOVE.arguments(values)))
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
                rows = await self._writes.call(self._apply, user_id, _NO_ID, arguments, alone=True)
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
            "removals_after": MAX_NUMBER if since == NOTHING else max(since.number, since.walk),
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

    async def _run_alone(self, call: Call) -> Any:
        """Run an operation's own statement, which waits for locks. None means that no row was read or written."""
        operation: Operation = call.operation
        try:
            rows = await self._database.fetch(operation.alone, call.arguments, deadline=call.deadline)
        except asyncpg.UniqueViolationError:
            if operation is self._apply:
                raise
            raise TaskAlreadyExists from None
        except asyncpg.InternalServerError:  # where a unique violation in a shard is reported as one
            if operation is self._add and await self._database.fetch(GET, (call.user_id, call.task_id)):
                raise TaskAlreadyExists from None
            raise
        return rows if operation is self._apply else rows[0] if rows else None

    async def _search(self, call: Call) -> Any:
        return await self._database.fetch(call.operation, call.arguments, deadline=call.deadline)

    async def _run_together(self, calls: Sequence[Call], deadline: float) -> Sequence[Any]:
        operation: Operation = calls[0].operation
        try:
            rows = await self._database.fetch(operation.together, operation.arguments(calls), deadline=deadline)
        except StorageUnavailable as error:
            if fault(error.__cause__) not in DID_NOTHING:
                return [copied(error) for _ in calls]
            return [None] * len(calls)
        except asyncpg.PostgresError:  # because of one of the calls
            return [None] * len(calls)
        found = {(row["user_id"], row["id"]): row for row in rows}
        return [operation.outcome(found.get((call.user_id, call.task_id))) for call in calls]
