"""The bodies of requests and responses. Tokens are opaque: compare them, keep them, and send them back."""

from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

import httpx
import msgspec

from application import COMPLETION, Change, ChangeOperation, CreateOperation, Operation, Removal
from domain import UNCHANGED, Task, TaskChange, TaskDraft
from hextasks.client.problems import MALFORMED, ApiProblem

T = TypeVar("T", Task, None)
Body = TypeVar("Body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Generic[T]):
    """The outcome of a write of one task."""

    task: T
    """The task as it is stored; None after its deletion."""
    sync_token: str | None
    """The token after the write, for `since` and `if_state`; None where it changed nothing."""
    is_replayed: bool
    """Whether an earlier attempt, or an earlier call with the same idempotency key, did it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """A page of the list, newest first."""

    tasks: tuple[Task, ...]
    next_cursor: str | None
    """The `cursor` of the next page; None on the last one."""
    etag: str = ""
    """It changes when the list changes; `list` sends that of a page that is passed as `known`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """Changes in their order, each task at most once: as it is now, or its removal."""

    changes: tuple[Change, ...]
    next: str
    """The token after these changes, for `since`."""
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """The outcome of a batch."""

    results: tuple[Change, ...]
    """In the order of the operations: each task as it is stored, or its removal."""
    next: str
    """The token after the batch, for `since` and `if_state`."""
    is_replayed: bool
    """Whether an earlier attempt, or an earlier call with the same idempotency key, did it."""


class Health(msgspec.Struct, frozen=True):
    """The response of a health probe."""

    status: str


class Put(msgspec.Struct, frozen=True, tag_field="op", tag="put"):
    """A task as it is now."""

    task: Task


class Delete(msgspec.Struct, frozen=True, tag_field="op", tag="delete"):
    """The removal of a task."""

    id: UUID
    version: int


Entry: TypeAlias = Put | Delete


class _Changes(msgspec.Struct):
    changes: list[Entry]
    next: str
    has_more: bool


class _Results(msgspec.Struct):
    results: list[Entry]
    next: str


def decoded(response: httpx.Response, kind: type[Body]) -> Body:
    """Return the body of a response. Raises ApiProblem where it is not the service's."""
    try:
        return msgspec.json.decode(response.content, type=kind)
    except MALFORMED as error:
        raise ApiProblem.unexpected(response) from error


def written(response: httpx.Response, task: T) -> Written[T]:
    """Return the outcome that a response describes."""
    return Written(task=task, sync_token=response.headers.get("Sync-Token"), is_replayed=_is_replayed(response))


def task_page(response: httpx.Response) -> TaskPage:
    """Return a page of the list."""
    return replace(decoded(response, TaskPage), etag=response.headers.get("ETag", ""))


def change_page(response: httpx.Response) -> ChangePage:
    """Return a page of changes."""
    page = decoded(response, _Changes)
    return ChangePage(changes=tuple(map(change, page.changes)), next=page.next, has_more=page.has_more)


def batch_result(response: httpx.Response) -> BatchResult:
    """Return the outcome of a batch."""
    batch = decoded(response, _Results)
    results = tuple(map(change, batch.results))
    return BatchResult(results=results, next=batch.next, is_replayed=_is_replayed(response))


def change(entry: Entry) -> Change:
    """Return the change that an entry describes."""
    return entry.task if isinstance(entry, Put) else Removal(id=entry.id, version=entry.version)


def given(values: TaskDraft | TaskChange) -> dict[str, Any]:
    """Return the fields of a new task, or those that a change changes."""
    named = {field.name: getattr(values, field.name) for field in fields(values)}
    return {name: value for name, value in named.items() if value is not UNCHANGED}


def batch_entry(operation: Operation) -> dict[str, Any]:
    """Return the body of an operation."""
    entry: dict[str, Any] = {"id": operation.task_id} if operation.task_id else {}
    if isinstance(operation, CreateOperation):
        return {"op": "create", **entry, **given(operation.draft)}
    if operation.expected_version is not None:
        entry["if_version"] = operation.expected_version
    if not isinstance(operation, ChangeOperation):
        return {"op": "delete", **entry}
    if operation.change == COMPLETION:
        return {"op": "complete", **entry}
    return {"op": "update", **entry, **given(operation.change)}


def _is_replayed(response: httpx.Response) -> bool:
    return bool(response.headers.get("Idempotency-Replayed") == "true")
