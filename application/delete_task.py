"""Story: delete a task."""

from dataclasses import dataclass
from uuid import UUID

from application.access import only_own_tasks
from application.ports import Clock, TaskRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTask:
    """Deletes a task permanently."""

    tasks: TaskRepository
    clock: Clock

    async def __call__(self, *, actor: str, user_id: str, task_id: UUID, expected_version: int | None = None) -> None:
        """Delete the task; if `expected_version` is given, only in that version.

        Raises NotOwner, TaskNotFound (a second time too), VersionConflict, TaskContended, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        await self.tasks.remove(user_id, task_id, removed_at=self.clock.now(), expected_version=expected_version)
