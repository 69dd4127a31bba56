"""Story: create a task."""

from dataclasses import dataclass, field
from uuid import UUID

from application.access import only_own_tasks
from application.attempts import MAX_ATTEMPTS
from application.errors import TaskAlreadyExists, TaskContended, TaskNotFound, VersionConflict
from application.keyed import apply_one, once_only, written
from application.ports import Clock, TaskIds, TaskRepository
from application.signal import ChangeSignal
from application.writes import Once, Write, Written
from domain import Task, TaskDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    """Creates an open task."""

    tasks: TaskRepository
    clock: Clock
    ids: TaskIds
    signal: ChangeSignal = field(default_factory=ChangeSignal)

    async def __call__(
        self, *, actor: str, user_id: str, draft: TaskDraft, task_id: UUID | None = None, once: Once | None = None
    ) -> Written[Task]:
        """Store and return a new task.

        With a `task_id` of the caller's, a task that exists with the values of the draft is returned as it is, and
        nothing is written (`state` is None). Raises NotOwner, TaskAlreadyExists when that task differs or was deleted,
        IdempotencyKeyReused, TaskContended, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        new_id = self.ids.new() if task_id is None else task_id
        task = Task.create(draft, id=new_id, user_id=user_id, now=self.clock.now())
        if once:
            write = self._add_once(draft, task, once, is_new=task_id is None)
            created = await once_only(write, tasks=self.tasks, user_id=user_id, once=once, outcome=written)
        elif task_id is not None:
            created = await self._add_unless_it_exists(draft, task)
        else:
            created = await self.tasks.add(task)
        if created.state and not created.is_replayed:
            self.signal.publish(user_id, created.state)
        return created

    async def _add_unless_it_exists(self, draft: TaskDraft, task: Task) -> Written[Task]:
        try:
            return await self.tasks.add(task)
        except TaskAlreadyExists:
            return Written(task=await self._existing(draft, task), state=None)

    async def _add_once(self, draft: TaskDraft, task: Task, once: Once, *, is_new: bool) -> Written[Task]:
        write = Write(kind="add", task=task)
        for _ in range(MAX_ATTEMPTS):
            try:
                return written(await apply_one(self.tasks, write, now=task.created_at, once=once))
            except TaskAlreadyExists:
                if is_new:
                    raise
                write = Write(kind="keep", task=await self._existing(draft, task))
            except (VersionConflict, TaskNotFound):  # it is no longer as it was read
                write = Write(kind="add", task=task)
        raise TaskContended

    async def _existing(self, draft: TaskDraft, task: Task) -> Task:
        """Return the stored task with the same id. Raises TaskAlreadyExists when it is not as drafted, or is gone."""
        try:
            stored = await self.tasks.get(task.user_id, task.id)
        except TaskNotFound:
            raise TaskAlreadyExists from None
        if not draft.describes(stored):
            raise TaskAlreadyExists
        return stored
