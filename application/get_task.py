"""Story: view one task."""

from dataclasses import dataclass
from uuid import UUID

from application.access import only_own_tasks
from application.ports import TaskRepository
from domain import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class GetTask:
    """Reads one task by its id."""

    tasks: TaskRepository

    async def __call__(self, *, actor: str, user_id: str, task_id: UUID) -> Task:
        """Return the task as it was last stored. Raises NotOwner, TaskNotFound, StorageUnavailable."""
        only_own_tasks(actor=actor, user_id=user_id)
        return await self.tasks.get(user_id, task_id)
