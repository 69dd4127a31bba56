"""The TaskRepository port over PostgreSQL: every write one statement, every read one statement."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg

from adapters.postgres.database import Database
from adapters.postgres.statement import Statement
from adapters.postgres.statements import ADD, GET, PAGES, REMOVE, SAVE
from application import PageRequest, TaskAlreadyExists, TaskContended, TaskNotFound, TaskPage, VersionConflict
from domain import Task


class PostgresTaskRepository:
    """Keeps tasks in the `tasks`, `task_counters` and `task_tombstones` tables of a migrated database."""

    def __init__(self, database: Database) -> None:
        """Work on a database, which stays its owner's to close."""
        self._database = database
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def add(self, task: Task) -> Task:
        """See TaskRepository.add. One round trip."""
        try:
            written = await self._write(
                ADD,
                user_id=task.user_id,
                id=task.id,
                title=task.title,
                created_at=task.created_at,
                updated_at=task.updated_at,
                completed_at=task.completed_at,
            )
        except asyncpg.UniqueViolationError:
            raise TaskAlreadyExists from None
        return replace(task, **written[0])

    async def get(self, user_id: str, task_id: UUID) -> Task:
        """See TaskRepository.get. One round trip."""
        rows = await self._read(GET, user_id=user_id, id=task_id)
        if not rows:
            raise TaskNotFound
        return Task(**rows[0])

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        """See TaskRepository.list. One round trip; an index yields the page in order, with nothing to sort."""
        statement = PAGES[page.completed, page.after is not None]
        after = {"after_created_at": page.after.created_at, "after_id": page.after.id} if page.after else {}
        rows = await self._read(statement, user_id=user_id, limit=page.limit + 1, **after)
        return TaskPage.cut([Task(**row) for row in rows], page.limit)

    async def save(self, task: Task) -> Task:
        """See TaskRepository.save. One round trip, and a second to say why when it is refused."""
        written = await self._write(
            SAVE,
            user_id=task.user_id,
            id=task.id,
            version=task.version,
            title=task.title,
            updated_at=task.updated_at,
            completed_at=task.completed_at,
        )
        if not written:
            await self.get(task.user_id, task.id)
            raise VersionConflict
        return replace(task, **written[0])

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        """See TaskRepository.remove. One round trip, and a second to say why when it is refused."""
        written = await self._write(
            REMOVE, user_id=user_id, id=task_id, version=expected_version, removed_at=removed_at
        )
        if not written:
            if expected_version is not None:
                await self.get(user_id, task_id)
                raise VersionConflict
            raise TaskNotFound

    async def _read(self, statement: Statement, **values: Any) -> Sequence[Mapping[str, Any]]:
        return await self._database.fetch(statement, statement.arguments(values))

    async def _write(self, statement: Statement, **values: Any) -> Sequence[Mapping[str, Any]]:
        """Run a writing statement, again only if it provably did nothing.

        Whether one that was cut off was carried out, nobody can tell from here.

        One user's writes wait for each other here. They would do so in the database as well, at the user's counter, but
        there each would hold a connection, and one busy user could take them all from the others.
        """
        turn = self._turns.setdefault(values["user_id"], asyncio.Lock())
        deadline = asyncio.get_running_loop().time() + self._database.timeout
        try:
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
        except TimeoutError:
            raise TaskContended from None
        try:
            return await self._database.fetch(statement, statement.arguments(values), deadline=deadline)
        finally:
            turn.release()
