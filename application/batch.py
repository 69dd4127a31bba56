"""Story: write many tasks at once, all or nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from application.access import only_own_tasks
from application.attempts import MAX_ATTEMPTS
from application.errors import (
    ApplicationError,
    TaskAlreadyExists,
    TaskContended,
    TaskNotFound,
)
from application.keyed import once_only
from application.ports import Clock, TaskIds, TaskRepository
from application.signal import ChangeSignal
from application.states import State
from application.writes import Applied, Once, Write, WritesRejected
from domain import DomainError, Task, TaskChange, TaskDraft

MAX_OPERATIONS = 100
_NEVER_STORED = TaskDraft(title="-")
"""Of a task with version 0, which no stored task has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOperation:
    """Create a task; with an id of the caller's, as CreateTask does."""

    draft: TaskDraft
    task_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOperation:
    """Change a task; with an expected version, only that one."""

    task_id: UUID
    change: TaskChange
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOperation:
    """Delete a task; with an expected version, only that one."""

    task_id: UUID
    expected_version: int | None = None


Operation: TypeAlias = CreateOperation | ChangeOperation | DeleteOperation


class InvalidBatch(DomainError):
    """`batch_size_out_of_range`: 1 to 100 operations are allowed. `task_repeated`: a task is named twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyBatch:
    """Carries out many operations on a user's tasks, or none of them."""

    tasks: TaskRepository
    clock: Clock
    ids: TaskIds
    signal: ChangeSignal = field(default_factory=ChangeSignal)

    async def __call__(
        self,
        *,
        actor: str,
        user_id: str,
        operations: Sequence[Operation],
        if_state: State | None = None,
        once: Once | None = None,
    ) -> Applied:
        """Carry out the operations, each on another task, and return their results in order.

        They take numbers in their order; an operation without effect takes none. With `if_state` they are carried out
        in that state only. An operation without an expected version is applied to the newest one, with up to 32
        attempts.

        Raises NotOwner, InvalidBatch, WritesRejected with an error for each operation at fault (TaskNotFound,
        VersionConflict, TaskAlreadyExists), StateMismatch, IdempotencyKeyReused, TaskContended, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        check_operations(operations)
        write = self._apply(user_id, operations, if_state, once)
        if once:
            write = once_only(write, tasks=self.tasks, user_id=user_id, once=once, outcome=lambda earlier: earlier)
        applied = await write
        if applied.has_changed and not applied.is_replayed:
            self.signal.publish(user_id, applied.state)
        return applied

    async def _apply(
        self, user_id: str, operations: Sequence[Operation], if_state: State | None, once: Once | None
    ) -> Applied:
        created = {each.task_id for each in operations if isinstance(each, CreateOperation) and each.task_id}
        ids = {each.task_id for each in operations if not isinstance(each, CreateOperation)}
        if ids:
            ids |= created  # in the same statement; else they are read only if one of them exists
        for attempt in range(MAX_ATTEMPTS):
            stored = await self.tasks.get_many(user_id, ids) if ids else {}
            now = self.clock.now()
            writes = [self._write(user_id, operation, stored, now) for operation in operations]
            try:
                return await self.tasks.apply(user_id, writes, now=now, once=once, if_state=if_state)
            except WritesRejected as rejected:
                failed = {operations[n]: error for n, error in rejected.errors.items()}
                # A task that exists may be as drafted, but perhaps it did not exist yet when it was read.
                is_known = attempt > 0 or not any(isinstance(operation, CreateOperation) for operation in failed)
                if is_known and all(_is_final(operation, error) for operation, error in failed.items()):
                    raise
            ids |= created
        raise TaskContended

    def _write(self, user_id: str, operation: Operation, stored: Mapping[UUID, Task], now: datetime) -> Write:
        """Return the write of an operation. One that cannot be carried out becomes a write that will be rejected.

        So all operations at fault are found together, in one state.
        """
        if isinstance(operation, CreateOperation):
            task_id = self.ids.new() if operation.task_id is None else operation.task_id
            existing = stored.get(task_id)
            if existing and operation.draft.describes(existing):
                return Write(kind="keep", task=existing)
            return Write(kind="add", task=Task.create(operation.draft, id=task_id, user_id=user_id, now=now))
        task = stored.get(operation.task_id)
        if task is None or operation.expected_version not in (None, task.version):
            return Write(kind="keep", task=Task.create(_NEVER_STORED, id=operation.task_id, user_id=user_id, now=now))
        if isinstance(operation, DeleteOperation):
            return Write(kind="remove", task=task)
        changed = task.apply(operation.change, now=now)
        return Write(kind="keep" if changed is task else "save", task=changed)


def check_operations(operations: Sequence[Operation]) -> None:
    """Accept 1 to 100 operations, each on another task. Raises InvalidBatch."""
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        detail = f"A batch must have 1 to {MAX_OPERATIONS} operations."
        raise InvalidBatch("batch_size_out_of_range", detail, field="operations")
    ids = Counter(each.task_id for each in operations if each.task_id)
    for place, operation in enumerate(operations):
        if operation.task_id and ids[operation.task_id] > 1:
            raise InvalidBatch("task_repeated", "A batch must name each task once.", field=f"operations/{place}/id")


def _is_final(operation: Operation, error: ApplicationError) -> bool:
    """Whether an operation was rejected for its own sake, and not because its task has changed since it was read."""
    if isinstance(operation, CreateOperation):
        return isinstance(error, TaskAlreadyExists)
    return isinstance(error, TaskNotFound) or operation.expected_version is not None
