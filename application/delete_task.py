"""Story: delete a task."""

from dataclasses import dataclass, field
from uuid import UUID

from application.access import only_own_tasks
from application.errors import TaskContended, VersionConflict
from application.keyed import apply_one, changed_state, once_only
from application.ports import Clock, TaskRepository
from application.signal import ChangeSignal
from application.update_task import MAX_ATTEMPTS
from application.writes import Applied, Once, Write, Written


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
            write = self._remove_once(user_id, task_id, expected_version, once)
            applied = await once_only(write, tasks=self.tasks, user_id=user_id, once=once)
            removed = Written(task=None, state=changed_state(applied), is_replayed=applied.is_replayed)
        else:
            removed = await self.tasks.remove(
                user_id, task_id, removed_at=self.clock.now(), expected_version=expected_version
            )
        if removed.state and not removed.is_replayed:
            self.signal.publish(user_id, removed.state)
        return removed

    async def _remove_once(self, user_id: str, task_id: UUID, expected_version: int | None, once: Once) -> Applied:
        for _ in range(MAX_ATTEMPTS):
            task = await self.tasks.get(user_id, task_id)
            if expected_version not in (None, task.version):
                raise VersionConflict(task.version)
            try:
                return await apply_one(self.tasks, Write(kind="remove", task=task), now=self.clock.now(), once=once)
            except VersionConflict:
                if expected_version is not None:
                    raise
        raise TaskContended
