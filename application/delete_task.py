"""Story: delete a task."""

from dataclasses import dataclass, field
from uuid import UUID

from application.access import only_own_tasks
from application.attempts import write_newest
from application.keyed import apply_one, once_only, removed
from application.ports import Clock, TaskRepository
from application.signal import ChangeSignal
from application.writes import Once, Write, Written
from domain import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTask:
    """Deletes a task permanently."""

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
    ) -> Written[None]:
        """Delete the task; if `expected_version` is given, only in that version.

        Raises NotOwner, TaskNotFound (a second time too), VersionConflict, IdempotencyKeyReused, TaskContended,
        StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        if once:
            write = write_newest(
                lambda task: self._remove_once(task, once),
                tasks=self.tasks,
                user_id=user_id,
                task_id=task_id,
                expected_version=expected_version,
            )
            outcome = await once_only(write, tasks=self.tasks, user_id=user_id, once=once, outcome=removed)
        else:
            outcome = await self.tasks.remove(
                user_id, task_id, removed_at=self.clock.now(), expected_version=expected_version
            )
        if outcome.state and not outcome.is_replayed:
            self.signal.publish(user_id, outcome.state)
        return outcome

    async def _remove_once(self, task: Task, once: Once) -> Written[None]:
        write = Write(kind="remove", task=task)
        return removed(await apply_one(self.tasks, write, now=self.clock.now(), once=once))
