"""Stories: update a task, and complete it in one action."""

from dataclasses import dataclass
from uuid import UUID

from application.access import only_own_tasks
from application.errors import TaskContended, VersionConflict
from application.ports import Clock, TaskRepository
from domain import Task, clean_title

# Among N writers that start together at least one wins each round, so this many always get through.
MAX_ATTEMPTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTask:
    """Changes a task's title, its completion, or both."""

    tasks: TaskRepository
    clock: Clock

    async def __call__(
        self,
        *,
        actor: str,
        user_id: str,
        task_id: UUID,
        title: str | None = None,
        is_completed: bool | None = None,
        expected_version: int | None = None,
    ) -> Task:
        """Store the change and return the task; None leaves a part alone, and a change of nothing writes nothing.

        With `expected_version` the change happens only on that version, else VersionConflict is raised. Without it, the
        change is applied to whatever is newest, again after losing to another writer, up to 32 times; then
        TaskContended is raised. Raises Forbidden, InvalidTitle, TaskNotFound, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        if title is not None:
            title = clean_title(title)  # refused before the first read, whether or not the task exists
        for _ in range(MAX_ATTEMPTS):
            task = await self.tasks.get(user_id, task_id)
            if expected_version not in (None, task.version):
                raise VersionConflict
            changed = task.change(now=self.clock.now(), title=title, is_completed=is_completed)
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
            actor=actor, user_id=user_id, task_id=task_id, is_completed=True, expected_version=expected_version
        )
