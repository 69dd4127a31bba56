"""Stories: update a task, and complete it in one action."""

from dataclasses import dataclass
from uuid import UUID

from application.access import only_own_tasks
from application.errors import TaskContended, VersionConflict
from application.ports import Clock, TaskRepository
from domain import Task, TaskChange

# Of N concurrent writers at least one succeeds in each round, so this many always succeed.
MAX_ATTEMPTS = 32

_COMPLETION = TaskChange(is_completed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTask:
    """Changes a task."""

    tasks: TaskRepository
    clock: Clock

    async def __call__(
        self,
        *,
        actor: str,
        user_id: str,
        task_id: UUID,
        change: TaskChange,
        expected_version: int | None = None,
    ) -> Task:
        """Store the change and return the task; a change without effect writes nothing.

        With `expected_version`, the change is applied to that version only, else VersionConflict is raised. Without it,
        the change is applied to the newest version, with up to 32 attempts while other writers change it; then
        TaskContended is raised. Raises NotOwner, TaskNotFound, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        for _ in range(MAX_ATTEMPTS):
            task = await self.tasks.get(user_id, task_id)
            if expected_version not in (None, task.version):
                raise VersionConflict
            changed = task.apply(change, now=self.clock.now())
            if changed is task:
                return task
            try:
                return await self.tasks.save(changed)
            except VersionConflict:
                if expected_version is not None:
                    raise
        raise TaskContended


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTask:
    """Marks a task as done."""

    tasks: TaskRepository
    clock: Clock

    async def __call__(self, *, actor: str, user_id: str, task_id: UUID, expected_version: int | None = None) -> Task:
        """Complete the task and return it; the first `completed_at` stays. Raises what UpdateTask raises."""
        update = UpdateTask(tasks=self.tasks, clock=self.clock)
        return await update(
            actor=actor, user_id=user_id, task_id=task_id, change=_COMPLETION, expected_version=expected_version
        )
