"""Request and response bodies: separate types, so that the entity can change without breaking a client."""

from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application import MAX_PAGE_SIZE, Change, ChangePage, Removal, TaskPage
from domain import Task, TaskChange, TaskDraft
from domain.rules import CONTROL, TITLE, USER_ID

_EXAMPLE_TITLE = "Buy milk"
_EXAMPLE_ID = "0197f4a6-9d3c-7b1e-8f2a-3c5d7e9f1a2b"
_EXAMPLE_TIME = "2026-01-31T09:30:00.123456Z"

_SPACE = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
TITLE_PATTERN = (
    f"^[{_SPACE}]*[^{_SPACE}{CONTROL}]([^{CONTROL}]{{0,{TITLE.max_length - 2}}}[^{_SPACE}{CONTROL}])?[{_SPACE}]*$"
)
"""The domain's rule for titles, as a JSON Schema pattern."""

Title = Annotated[
    str,
    Meta(
        description=f"White space at the ends is stripped; then 1 to {TITLE.max_length} characters, "
        "none of them a control character.",
        examples=[_EXAMPLE_TITLE],
        extra_json_schema={"pattern": TITLE_PATTERN},  # documented only; the domain checks it
    ),
]


Time = Annotated[datetime, Meta(tz=True)]


class CreateTaskRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new task."""

    title: Title
    id: (
        Annotated[UUID, Meta(description="Made by the client, preferably of version 7.", examples=[_EXAMPLE_ID])]
        | UnsetType
    ) = UNSET

    def draft(self) -> TaskDraft:
        """Return the new task that the body describes. Raises InvalidText."""
        return TaskDraft(title=self.title)

    @property
    def task_id(self) -> UUID | None:
        """The id that the client has chosen."""
        return None if self.id is UNSET else self.id


_CHANGEABLE = tuple(field.name for field in fields(TaskChange))


class UpdateTaskRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to change, at least one; an omitted field stays as it is."""

    title: Title | UnsetType = UNSET
    is_completed: Annotated[bool, Meta(description="Whether the task is done.", examples=[True])] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raise ValueError unless there is a field."""
        if not self._given():
            names = " or ".join(f"`{name}`" for name in _CHANGEABLE)
            raise ValueError(f"Object missing required field {names}")  # in msgspec's words, which have a code

    def change(self) -> TaskChange:
        """Return the change that the body describes. Raises InvalidText."""
        return TaskChange(**self._given())

    def _given(self) -> dict[str, Any]:
        return {name: value for name in _CHANGEABLE if (value := getattr(self, name)) is not UNSET}


class TaskResponse(msgspec.Struct, kw_only=True, frozen=True):
    """A task."""

    id: Annotated[
        UUID,
        Meta(
            description="A UUID, of version 7 unless the client has chosen another.",
            examples=[_EXAMPLE_ID],
        ),
    ]
    user_id: Annotated[
        str,
        Meta(
            description="The owner: the user that the token names.",
            examples=["ada"],
            min_length=1,
            max_length=USER_ID.max_length,
        ),
    ]
    title: Annotated[str, Meta(examples=[_EXAMPLE_TITLE], min_length=1, max_length=TITLE.max_length)]
    is_completed: Annotated[bool, Meta(examples=[False])]
    completed_at: Annotated[
        Time | None,
        Meta(description="When it was completed, the first time since it was last open.", examples=[None]),
    ]
    created_at: Annotated[Time, Meta(examples=[_EXAMPLE_TIME])]
    updated_at: Annotated[Time, Meta(description="When it last changed.", examples=[_EXAMPLE_TIME])]
    version: Annotated[
        int,
        Meta(description="The number of its last change among all changes of its owner; its ETag.", examples=[1], ge=1),
    ]

    @classmethod
    def of(cls, task: Task) -> Self:
        """Return the response for a task."""
        return msgspec.convert(task, cls, from_attributes=True)


class TaskListResponse(msgspec.Struct, kw_only=True, frozen=True):
    """A page of a user's tasks, newest first."""

    tasks: Annotated[list[TaskResponse], Meta(max_length=MAX_PAGE_SIZE)]
    next_cursor: Annotated[
        str | None, Meta(description="Pass it as `cursor` for the next page; null on the last page.", examples=[None])
    ]

    @classmethod
    def of(cls, page: TaskPage, next_cursor: str | None) -> Self:
        """Return the response for a page."""
        content = {"tasks": page.tasks, "next_cursor": next_cursor}
        return msgspec.convert(content, cls, from_attributes=True)


class PutEntry(msgspec.Struct, kw_only=True, frozen=True, tag="put", tag_field="op"):
    """A task as it is now."""

    task: TaskResponse


class DeleteEntry(msgspec.Struct, kw_only=True, frozen=True, tag="delete", tag_field="op"):
    """The deletion of a task."""

    id: UUID
    version: Annotated[int, Meta(description="The number of the deletion among all changes of its owner.", ge=1)]


Entry = PutEntry | DeleteEntry
Token = Annotated[str, Meta(description="A token for `since` or `if_state`.", examples=["9c1e07ab52d4-17"])]


def entry(change: Change) -> Entry:
    """Return the entry for a change."""
    if isinstance(change, Removal):
        return DeleteEntry(id=change.id, version=change.version)
    return PutEntry(task=TaskResponse.of(change))


class ChangesResponse(msgspec.Struct, kw_only=True, frozen=True):
    """A page of changes, in their order."""

    changes: Annotated[list[Entry], Meta(max_length=MAX_PAGE_SIZE)]
    next: Token
    has_more: Annotated[bool, Meta(description="Whether there are more changes at once.")]

    @classmethod
    def of(cls, page: ChangePage) -> Self:
        """Return the response for a page."""
        return cls(changes=[entry(change) for change in page.changes], next=str(page.next), has_more=page.has_more)


class HealthResponse(msgspec.Struct, frozen=True):
    """The response of a successful health probe."""

    status: str = "ok"
