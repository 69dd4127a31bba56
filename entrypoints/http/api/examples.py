"""One story of examples for the OpenAPI document. A test sends its requests, and receives its responses."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from application import COMPLETION, State
from domain import Task, TaskDraft
from entrypoints.http.api.batch_schemas import BatchRequest, BatchResponse, CreateEntry
from entrypoints.http.api.schemas import (
    ChangesResponse,
    CreateTaskRequest,
    PutEntry,
    TaskListResponse,
    TaskResponse,
    UpdateTaskRequest,
)

_TIME = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)


def _new(number: int, title: str) -> Task:
    task_id = UUID(f"0197f4a6-9d3c-7b1e-8f2a-3c5d7e9f1a{number:02x}")
    now = _TIME + timedelta(minutes=number)
    return Task.create(TaskDraft(title=title), id=task_id, user_id="ada", now=now).stored(number)


def _token(number: int) -> str:
    return str(State(epoch=0x9C1E07AB52D4, number=number))


CREATE = CreateTaskRequest(title="Buy milk")
_OPEN = _new(1, CREATE.title)
CREATED = TaskResponse.of(_OPEN)
LIST = TaskListResponse(tasks=[CREATED], next_cursor=None)
UPDATE = UpdateTaskRequest(title="Buy oat milk")
_RENAMED = _OPEN.apply(UPDATE.change(), now=_TIME + timedelta(minutes=2)).stored(2)
UPDATED = TaskResponse.of(_RENAMED)
COMPLETED = TaskResponse.of(_RENAMED.apply(COMPLETION, now=_TIME + timedelta(minutes=3)).stored(3))
CHANGES = ChangesResponse(changes=[PutEntry(task=COMPLETED)], next=_token(3), has_more=False)
_TITLES = ("Buy tea", "Answer the mail")
BATCH = BatchRequest(operations=[CreateEntry(title=title) for title in _TITLES])
APPLIED = BatchResponse(
    results=[PutEntry(task=TaskResponse.of(_new(number, title))) for number, title in enumerate(_TITLES, 4)],
    next=_token(5),
)
