"""Request and response bodies: separate types, so that the entity can change without breaking a client."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application import MAX_PAGE_SIZE, TaskPage
from domain import Task, TaskChange, TaskDraft
from domain.rules import TITLE, USER_ID
from entrypoints.http.problems import INPUT_CODES, Problem

_EXAMPLE_TITLE = "Buy milk"
_EXAMPLE_TIME = "2026-01-31T09:30:00.123456Z"

_SPACE = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CONTROL = r"\x00-\x1f\x7f-\x9f"
TITLE_PATTERN = (
    f"^[{_SPACE}]*[^{_SPACE}{_CONTROL}]([^{_CONTROL}]{{0,{TITLE.max_length - 2}}}[^{_SPACE}{_CONTROL}])?[{_SPACE}]*$"
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

    def draft(self) -> TaskDraft:
        """Return the new task that the body describes. Raises InvalidText."""
        return TaskDraft(**_given(self))


class UpdateTaskRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to change, at least one; an omitted field stays as it is."""

    title: Title | UnsetType = UNSET
    is_completed: Annotated[bool, Meta(description="Whether the task is done.", examples=[True])] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raise ValueError unless there is a field."""
        if not _given(self):
            names = " or ".join(f"`{name}`" for name in self.__struct_fields__)
            raise ValueError(f"Object missing required field {names}")  # in msgspec's words, which have a code

    def change(self) -> TaskChange:
        """Return the change that the body describes. Raises InvalidText."""
        return TaskChange(**_given(self))


def _given(body: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}


class TaskResponse(msgspec.Struct, kw_only=True, frozen=True):
    """A task."""

    id: Annotated[UUID, Meta(description="A UUID of version 7.", examples=["0197f4a6-9d3c-7b1e-8f2a-3c5d7e9f1a2b"])]
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
    is_completed: bool
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


class HealthResponse(msgspec.Struct, frozen=True):
    """The response of a successful health probe."""

    status: str = "ok"


SCHEMAS = (CreateTaskRequest, UpdateTaskRequest, TaskResponse, TaskListResponse, HealthResponse, Problem)
"""The types of all bodies."""

ERROR_CODES = (*INPUT_CODES, *TITLE.codes, "limit_out_of_range", "sync_token_malformed")
"""The codes of an InputError: those of a request's form, then those of the domain and the application."""
