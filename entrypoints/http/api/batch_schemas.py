"""Bodies of batches, and the list of all bodies."""

from typing import Annotated, Self
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application import (
    COMPLETION,
    MAX_OPERATIONS,
    TOKEN_PATTERN,
    Applied,
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
)
from entrypoints.http.api.schemas import CreateTaskRequest, Entry, Token, UpdateTaskRequest, entry

IfVersion = Annotated[
    int, Meta(ge=1, le=2**63 - 1, description="Carry out the batch only if the task has this version.")
]


class CreateEntry(CreateTaskRequest, kw_only=True, tag="create", tag_field="op"):
    """Create a task, as `createTask` does."""

    def operation(self) -> CreateOperation:
        """Return the operation. Raises InvalidText."""
        return CreateOperation(draft=self.draft(), task_id=self.task_id)


class UpdateEntry(UpdateTaskRequest, kw_only=True, tag="update", tag_field="op"):
    """Change a task, as `updateTask` does."""

    id: UUID
    if_version: IfVersion | UnsetType = UNSET

    def operation(self) -> ChangeOperation:
        """Return the operation. Raises InvalidText."""
        return ChangeOperation(task_id=self.id, change=self.change(), expected_version=self.if_version or None)


class _NamedEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    id: UUID
    if_version: IfVersion | UnsetType = UNSET


class CompleteEntry(_NamedEntry, kw_only=True, tag="complete", tag_field="op"):
    """Complete a task, as `completeTask` does."""

    def operation(self) -> ChangeOperation:
        """Return the operation."""
        return ChangeOperation(task_id=self.id, change=COMPLETION, expected_version=self.if_version or None)


class RemoveEntry(_NamedEntry, kw_only=True, tag="delete", tag_field="op"):
    """Delete a task, as `deleteTask` does."""

    def operation(self) -> DeleteOperation:
        """Return the operation."""
        return DeleteOperation(task_id=self.id, expected_version=self.if_version or None)


class BatchRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Operations on different tasks, which are carried out in their order, or not at all."""

    operations: Annotated[
        list[CreateEntry | UpdateEntry | CompleteEntry | RemoveEntry], Meta(min_length=1, max_length=MAX_OPERATIONS)
    ]
    if_state: (
        Annotated[
            str,
            Meta(
                description="Carry them out only if the tasks are in this state, named by a token.",
                extra_json_schema={"pattern": TOKEN_PATTERN},
            ),
        ]
        | UnsetType
    ) = UNSET


class BatchResponse(msgspec.Struct, kw_only=True, frozen=True):
    """The results of the operations, in their order."""

    results: Annotated[list[Entry], Meta(min_length=1, max_length=MAX_OPERATIONS)]
    next: Token

    @classmethod
    def of(cls, applied: Applied) -> Self:
        """Return the response for the outcome of a batch."""
        return cls(results=[entry(result) for result in applied.results], next=str(applied.state))
