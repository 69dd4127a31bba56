"""How the calls of a repository become statements: shared with concurrent calls, or alone."""

import sys
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, Literal
from uuid import UUID

import asyncpg

from adapters.postgres.apply_statement import APPLY
from adapters.postgres.call_queue import Call
from adapters.postgres.coalescing import Coalescer, Direct
from adapters.postgres.errors import DID_NOTHING, copied, fault
from adapters.postgres.executor import Executor
from adapters.postgres.operations import SharedOperation, added, read, written
from adapters.postgres.shared_statements import shared_statements
from adapters.postgres.statement import Statement
from adapters.postgres.statements import ADD, GET, REMOVE, SAVE
from application import StorageUnavailable, TaskAlreadyExists

Coalescing = Literal["all", "user", "off"]
"""Whose calls may share a statement: those of all users, only those of one user, or none."""

MOST_UNDER_WAY = 2
"""Shared statements of each kind, reads and writes, that run at a time."""
ENOUGH_CALLS = 16
"""So many start the second one; fewer wait for the end of the first, which takes 10 to 20 % less processor time."""
NO_ID = UUID(int=0)
"""Of a call that is not about one task."""


class Calls:
    """Carries out the operations of a repository."""

    def __init__(self, database: Executor, coalescing: Coalescing | None) -> None:
        """Let concurrent calls share statements.

        None is for a transaction, which runs a statement at a time: each call runs in its caller's task and ends first.
        """
        self._database = database
        one_user = coalescing == "user"
        shared = shared_statements(one_user=one_user)
        self._get = SharedOperation(GET, shared.get, read, one_user=one_user)
        self.add = SharedOperation(ADD, shared.add, added, one_user=one_user)
        self.save = SharedOperation(SAVE, shared.save, written, one_user=one_user)
        self.remove = SharedOperation(REMOVE, shared.remove, written, one_user=one_user)
        self.apply = SharedOperation(APPLY, APPLY, written, one_user=False)
        self._is_shared = coalescing in ("all", "user")
        # One user at a time needs many statements at once, for which the pool has a bound of its own.
        most_under_way, enough = (sys.maxsize, 1) if one_user else (MOST_UNDER_WAY, ENOUGH_CALLS)
        coalescer = partial(Coalescer, timeout=database.timeout, keeps_callers=database.keeps_callers)
        shared_calls = partial(coalescer, mixes_users=not one_user, most_under_way=most_under_way, enough=enough)
        self._reads = shared_calls(self._run_together, self._run_alone, is_read=True)
        writes: Coalescer | Direct
        searches: Coalescer | Direct
        if coalescing is None:
            writes = Direct(self._run_alone, timeout=database.timeout)
            searches = Direct(self._search, timeout=database.timeout)
        else:
            writes = shared_calls(self._run_together if self._is_shared else None, self._run_alone)
            # One user's searches, which may each read all of the user's tasks, run one after another, as writes do.
            searches = coalescer(None, self._search, mixes_users=False)
        self.write, self._searched = writes.call, searches.call
        kinds = {"read": self._reads, "write": writes}
        self.coalescers = {kind: each for kind, each in kinds.items() if isinstance(each, Coalescer)}
        """What shares the statements of reads and of writes."""

    def get(self, user_id: str, task_id: UUID) -> Awaitable[asyncpg.Record | None]:
        """Return the row of a task; without one, return None or raise TaskNotFound. Raises StorageUnavailable."""
        if self._is_shared:
            return self._reads.call(self._get, user_id, task_id, (user_id, task_id))
        return self._get_alone(user_id, task_id)

    def search(self, statement: Statement, user_id: str, arguments: Sequence[Any]) -> Awaitable[list[asyncpg.Record]]:
        """Return the rows of a statement, of which one runs at a time for each user.

        Raises TaskContended after a long wait for others, and StorageUnavailable.
        """
        return self._searched(statement, user_id, NO_ID, tuple(arguments))

    async def _get_alone(self, user_id: str, task_id: UUID) -> asyncpg.Record | None:
        rows = await self._database.fetch(GET, (user_id, task_id))
        return rows[0] if rows else None

    async def _search(self, call: Call) -> Any:
        return await self._database.fetch(call.operation, call.arguments, deadline=call.deadline)

    async def _run_alone(self, call: Call) -> Any:
        """Run an operation's own statement, which waits for locks. None means that no row was read or written."""
        operation: SharedOperation = call.operation
        try:
            rows = await self._database.fetch(operation.alone, call.arguments, deadline=call.deadline)
        except asyncpg.UniqueViolationError:
            if operation is self.apply:
                raise
            raise TaskAlreadyExists from None
        except asyncpg.InternalServerError:  # where a unique violation in a shard is reported as one
            if operation is self.add and await self._database.fetch(GET, (call.user_id, call.task_id)):
                raise TaskAlreadyExists from None
            raise
        return rows if operation is self.apply else rows[0] if rows else None

    async def _run_together(self, calls: Sequence[Call], deadline: float) -> Sequence[Any]:
        operation: SharedOperation = calls[0].operation
        try:
            rows = await self._database.fetch(operation.together, operation.arguments(calls), deadline=deadline)
        except StorageUnavailable as error:
            if fault(error.__cause__) not in DID_NOTHING:
                return [copied(error) for _ in calls]
            return [None] * len(calls)
        except asyncpg.PostgresError:  # because of one of the calls
            return [None] * len(calls)
        except Exception:  # a row cannot be decoded, for example one with the time -infinity
            if not operation.together.is_read:
                raise  # it may have been carried out
            return [None] * len(calls)
        found = {(row["user_id"], row["id"]): row for row in rows}
        return [operation.outcome(found.get((call.user_id, call.task_id))) for call in calls]
