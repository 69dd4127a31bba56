"""The TaskRepository port over PostgreSQL: every write one statement, every read one statement."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from adapters.postgres.database import Database
from adapters.postgres.statements import ADD, GET, PAGES, REMOVE, SAVE, Statement
from application import PageRequest, TaskAlreadyExists, TaskNotFound, TaskPage, VersionConflict
from domain import Task


class PostgresTaskRepository:
    """Keeps tasks in the `tasks`, `task_counters` and `task_tombstones` tables of a migrated database."""

    def __init__(self, database: Database) -> None:
        """Work on a database, which stays its owner's to close."""
        self._database = database

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
        return replace(task, **written)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        """See TaskRepository.get. One round trip."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(GET.sql, *GET.arguments({"user_id": user_id, "id": task_id}))
        if row is None:
            raise TaskNotFound
        return Task(**row)

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        """See TaskRepository.list. One round trip; an index yields the page in order, with nothing to sort."""
        statement = PAGES[page.completed, page.after is not None]
        values: dict[str, Any] = {"user_id": user_id, "limit": page.limit + 1}
        if page.after:
            values |= {"after_created_at": page.after.created_at, "after_id": page.after.id}
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement.sql, *statement.arguments(values))
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
        return replace(task, **written)

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

    async def _write(self, statement: Statement, **values: Any) -> dict[str, Any]:
        """Run a writing statement and return what it wrote, which is nothing where it was refused."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement.sql, *statement.arguments(values))
        return dict(row or {})
