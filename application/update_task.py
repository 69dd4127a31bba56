"""Stories: update a task, and complete it in one action."""

from dataclasses import dataclass, field
from uuid import UUID

from application.access import only_own_tasks
from application.attempts import write_newest
from application.keyed import apply_one, once_only, written
from application.ports import Clock, TaskRepository
from application.signal import ChangeSignal
from application.writes import Once, Write, Written
from domain import Task, TaskChange

COMPLETION = TaskChange(is_completed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTask:
    """Changes a task."""

    tasks: TaskRepository
    clock: Clock
    signal: ChangeSignal = field(default_factory=ChangeSignal)

    async def __call__(
        self,
        *,
        actor: str,
        user_id: str,
        task_id: UUID,
        change: TaskChange,
        expected_version: int | None = None,
        once: Once | None = None,
    ) -> Written[Task]:
        """Store the change and return the task; a change without effect writes nothing (`state` is None).

        With `expected_version`, the change is applied to that version only, else VersionConflict is raised. Without it,
        the change is applied to the newest version, with up to 32 attempts while other writers change it; then
        TaskContended is raised. Raises NotOwner, TaskNotFound, IdempotencyKeyReused, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        write = write_newest(
            lambda task: self._save(task, change, once),
            tasks=self.tasks,
            user_id=user_id,
            task_id=task_id,
            expected_version=expected_version,
        )
        if once:
            write = once_only(write, tasks=self.tasks, user_id=user_id, once=once, outcome=written)
        saved = await write
        if saved.state and not saved.is_replayed:
            self.signal.publish(user_id, saved.state)
        return saved

    async def _save(self, task: Task, change: TaskChange, once: Once | None) -> Written[Task]:
        now = self.clock.now()
        changed = task.apply(change, now=now)
        if once:
            write = Write(kind="keep" if changed is task else "save", task=changed)
            return written(await apply_one(self.tasks, write, now=now, once=once))
        return Written(task=task, state=None) if changed is task else await self.tasks.save(changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTask:
    """Marks a task as done."""

    tasks: TaskRepository
    clock: Clock
    signal: ChangeSignal = field(default_factory=ChangeSignal)

    async def __call__(
        self,
        *,
        actor: str,
        user_id: str,
        task_id: UUID,
        expected_version: int | None = None,
        once: Once | None = None,
    ) -> Written[Task]:
        """Complete the task and return it; the first `completed_at` stays. Raises what UpdateTask raises."""
        update = UpdateTask(tasks=self.tasks, clock=self.clock, signal=self.signal)
        return await update(
            actor=actor,
            user_id=user_id,
            task_id=task_id,
            change=COMPLETION,
            expected_version=expected_version,
            once=once,
        )
