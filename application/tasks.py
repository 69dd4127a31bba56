"""All use-cases on one repository, for callers that need many of them, and the same bound to one user."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self
from uuid import UUID

from application.batch import ApplyBatch, Operation
from application.changes import ChangePage
from application.create_task import CreateTask
from application.delete_task import DeleteTask
from application.events import TaskEvent
from application.export_tasks import ExportTasks
from application.follow_changes import FOLLOW_PAGE_SIZE, FollowChanges
from application.follow_events import FollowEvents
from application.forget_user import ForgetUser
from application.get_task import GetTask
from application.import_tasks import Imported, ImportTasks
from application.list_changes import ListChanges
from application.list_tasks import ListTasks
from application.pages import MAX_PAGE_SIZE, PageRequest, TaskPage
from application.ports import Clock, TaskIds, TaskRepository
from application.positions import PositionStore
from application.purge import KEEP_KEYS, KEEP_REMOVALS, Purge
from application.signal import POLL_SECONDS, ChangeSignal
from application.states import State
from application.update_task import CompleteTask, UpdateTask
from application.writes import Applied, Once, Written
from domain import Task, TaskChange, TaskDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """The use-cases, each awaited like a method: `await tasks.get(actor="ada", user_id="ada", task_id=...)`."""

    create: CreateTask
    get: GetTask
    list: ListTasks
    update: UpdateTask
    complete: CompleteTask
    delete: DeleteTask
    apply: ApplyBatch
    changes: ListChanges
    follow_changes: FollowChanges
    follow: FollowEvents
    export: ExportTasks
    import_: ImportTasks
    purge: Purge
    forget: ForgetUser

    @classmethod
    def on(
        cls,
        tasks: TaskRepository,
        *,
        clock: Clock,
        ids: TaskIds,
        signal: ChangeSignal | None = None,
        keep_removals: timedelta = KEEP_REMOVALS,
        keep_keys: timedelta = KEEP_KEYS,
    ) -> Self:
        """Build the use-cases on a repository. They share a signal, so that followers notice writes at once."""
        signal = signal or ChangeSignal()
        return cls(
            create=CreateTask(tasks=tasks, clock=clock, ids=ids, signal=signal),
            get=GetTask(tasks=tasks),
            list=ListTasks(tasks=tasks),
            update=UpdateTask(tasks=tasks, clock=clock, signal=signal),
            complete=CompleteTask(tasks=tasks, clock=clock, signal=signal),
            delete=DeleteTask(tasks=tasks, clock=clock, signal=signal),
            apply=ApplyBatch(tasks=tasks, clock=clock, ids=ids, signal=signal),
            changes=ListChanges(tasks=tasks),
            follow_changes=FollowChanges(tasks=tasks, signal=signal),
            follow=FollowEvents(tasks=tasks, signal=signal),
            export=ExportTasks(tasks=tasks),
            import_=ImportTasks(tasks=tasks, clock=clock, signal=signal),
            purge=Purge(tasks=tasks, clock=clock, keep_removals=keep_removals, keep_keys=keep_keys),
            forget=ForgetUser(tasks=tasks, signal=signal),
        )

    def of(self, user_id: str) -> "UserTasks":
        """Return the use-cases with a user filled in, who is the actor as well."""
        return UserTasks(self, user_id)


class UserTasks:
    """The use-cases of one user, who acts on their own tasks. Each raises what the use-case raises."""

    __slots__ = ("_tasks", "user_id")

    def __init__(self, tasks: Tasks, user_id: str) -> None:
        """Take the user id unchecked; every call checks it. Raises nothing."""
        self._tasks = tasks
        self.user_id = user_id

    async def create(
        self, draft: TaskDraft | str, *, task_id: UUID | None = None, once: Once | None = None
    ) -> Written[Task]:
        """Store and return a new, open task, of a draft or a title.

        With a `task_id`, a task that exists with the values of the draft is returned as it is (`state` is None).
        Raises InvalidText for the title, TaskAlreadyExists when that task differs or was deleted,
        IdempotencyKeyReused, TaskContended, StorageUnavailable.
        """
        return await self._tasks.create(
            actor=self.user_id, user_id=self.user_id, draft=TaskDraft.of(draft), task_id=task_id, once=once
        )

    async def get(self, task_id: UUID) -> Task:
        """Return the task as it was last stored. Raises TaskNotFound, StorageUnavailable."""
        return await self._tasks.get(actor=self.user_id, user_id=self.user_id, task_id=task_id)

    async def list(self, page: PageRequest | None = None, *, known: State | None = None) -> TaskPage:
        """Return a page of the tasks, newest first; without a request, the first 50.

        If the user's state still is the `known` one, it has that state and no tasks. Raises TaskContended for a text,
        StorageUnavailable.
        """
        return await self._tasks.list(actor=self.user_id, user_id=self.user_id, page=page, known=known)

    async def update(
        self,
        task_id: UUID,
        change: TaskChange,
        *,
        expected_version: int | None = None,
        once: Once | None = None,
    ) -> Written[Task]:
        """Store the change and return the task; a change without effect writes nothing (`state` is None).

        Raises TaskNotFound, VersionConflict when a version is expected
        and another is stored, IdempotencyKeyReused, TaskContended, StorageUnavailable.
        """
        return await self._tasks.update(
            actor=self.user_id,
            user_id=self.user_id,
            task_id=task_id,
            change=change,
            expected_version=expected_version,
            once=once,
        )

    async def complete(
        self, task_id: UUID, *, expected_version: int | None = None, once: Once | None = None
    ) -> Written[Task]:
        """Complete the task and return it; the first `completed_at` stays. Raises what `update` raises."""
        return await self._tasks.complete(
            actor=self.user_id, user_id=self.user_id, task_id=task_id, expected_version=expected_version, once=once
        )

    async def delete(
        self, task_id: UUID, *, expected_version: int | None = None, once: Once | None = None
    ) -> Written[None]:
        """Delete the task permanently. Raises what `update` raises; TaskNotFound a second time, too."""
        return await self._tasks.delete(
            actor=self.user_id, user_id=self.user_id, task_id=task_id, expected_version=expected_version, once=once
        )

    async def apply(
        self, operations: Sequence[Operation], *, if_state: State | None = None, once: Once | None = None
    ) -> Applied:
        """Carry out 1 to 100 operations, each on another task, or none of them; return their results in order.

        With `if_state`, they are carried out in that state only. Raises InvalidBatch, WritesRejected with an error for
        each operation at fault, StateMismatch, IdempotencyKeyReused, TaskContended, StorageUnavailable.
        """
        return await self._tasks.apply(
            actor=self.user_id, user_id=self.user_id, operations=operations, if_state=if_state, once=once
        )

    async def changes(self, *, since: State | None = None, limit: int = MAX_PAGE_SIZE) -> ChangePage:
        """Return up to `limit` changes after a state, in their order; without `since`, all tasks.

        Raises StateExpired when everything has to be read again, InvalidPage, StorageUnavailable.
        """
        return await self._tasks.changes(actor=self.user_id, user_id=self.user_id, since=since, limit=limit)

    def follow_changes(
        self, *, since: State | None = None, limit: int = FOLLOW_PAGE_SIZE, idle_seconds: float | None = None
    ) -> AsyncGenerator[ChangePage, None]:
        """Yield pages of changes after a state as they happen, without end; the first at once, even if it is empty.

        Without `since`, changes from now on. After `idle_seconds` without any, an empty page comes. Close it, as
        `contextlib.aclosing` does. Raises StateExpired, InvalidPage, and at first StorageUnavailable.
        """
        return self._tasks.follow_changes(
            actor=self.user_id, user_id=self.user_id, since=since, limit=limit, idle_seconds=idle_seconds
        )

    def follow(
        self, positions: PositionStore, *, wait: bool = True, poll_seconds: float = POLL_SECONDS
    ) -> AsyncGenerator[TaskEvent, None]:
        """Yield what happens to the tasks; see FollowEvents."""
        return self._tasks.follow(positions, user_ids=[self.user_id], wait=wait, poll_seconds=poll_seconds)

    def export(self) -> AsyncGenerator[Task, None]:
        """Yield every task, newest first, a page in memory at a time. Raises StorageUnavailable."""
        return self._tasks.export(actor=self.user_id, user_id=self.user_id)

    async def import_(self, tasks: Iterable[Task], *, replace: bool = False) -> Imported:
        """Add tasks with their ids and times, and return what became of each; those that exist stay, or are replaced.

        It may be repeated. Raises TaskContended, StorageUnavailable; see ImportTasks.
        """
        return await self._tasks.import_(actor=self.user_id, user_id=self.user_id, tasks=tasks, replace=replace)
