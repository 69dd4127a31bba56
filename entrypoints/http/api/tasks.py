"""The stories of one task over HTTP, and the routes of all. Each handler makes one use-case call."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from litestar import Request, Router, delete, get, patch, post, put
from litestar.openapi.spec import SecurityRequirement
from litestar.params import JSONBody

from application import Tasks, Written
from domain import Task
from entrypoints.http.api.access import AccessControl
from entrypoints.http.api.batch import batch_handler
from entrypoints.http.api.bodies import StrictRequest
from entrypoints.http.api.events import events_handler
from entrypoints.http.api.examples import COMPLETED, CREATE, CREATED, UPDATE, UPDATED
from entrypoints.http.api.idempotency import IDEMPOTENCY_KEY_HEADER, once, sync_headers
from entrypoints.http.api.lists import list_handlers, tasks_path
from entrypoints.http.api.options import options_handler
from entrypoints.http.api.parameters import TaskId, UserId, check_query, parse_task_id
from entrypoints.http.api.preconditions import (
    IF_MATCH,
    IF_NONE_MATCH,
    IF_NONE_MATCH_TO_WRITE,
    etag,
    is_unchanged,
    known_tags,
    writable_version,
)
from entrypoints.http.api.schemas import CreateTaskRequest, TaskResponse, UpdateTaskRequest
from entrypoints.http.docs.responses import (
    ACCESS,
    BODY,
    ETAG,
    EXISTING,
    ID_TAKEN,
    IF_MATCH_REQUIRED,
    INPUT,
    KEY,
    LOCATION,
    REPLAYED,
    STORAGE,
    SYNC_TOKEN,
    WRITE,
    errors,
    reading,
    success,
)
from entrypoints.http.response import ReadyResponse
from entrypoints.http.server.exchange import Exchange

SECURITY: Sequence[SecurityRequirement] = [{"bearer": []}]
WRITE_HEADERS = [IF_MATCH, IF_NONE_MATCH_TO_WRITE, IDEMPOTENCY_KEY_HEADER]


def tasks_router(
    use_cases: Tasks,
    access: AccessControl,
    *,
    strict: bool,
    prefix: str = "/api",
    security: Sequence[SecurityRequirement] | None = SECURITY,
) -> Router:
    """Return the routes of a user's tasks. Before each request its access is checked, and then its query.

    `strict` requires If-Match for updates and deletions. `security` is what the OpenAPI document says of access.
    """
    view_task, create, update = use_cases.get, use_cases.create, use_cases.update
    complete, remove = use_cases.complete, use_cases.delete

    async def view(request: StrictRequest, user_id: str, task_id: str) -> Task:
        return await view_task(actor=request.actor, user_id=user_id, task_id=parse_task_id(task_id))

    @post(
        "/",
        summary="Create a task",
        operation_id="createTask",
        tags=["tasks"],
        responses=success("The new task", CREATED, status=201)
        | success("The task, which exists with this id and these values", CREATED)
        | errors(*BODY, *ACCESS, *ID_TAKEN, *KEY, *STORAGE),
        response_headers=[ETAG, LOCATION, SYNC_TOKEN, REPLAYED],
        operation_class=reading(IDEMPOTENCY_KEY_HEADER, body=CREATE),
    )
    async def create_task(request: StrictRequest, user_id: UserId, data: JSONBody[CreateTaskRequest]) -> ReadyResponse:
        """Create a task, which is open and first in the list. With an `id` of the client's, a retry finds it."""
        written = await create(
            actor=request.actor, user_id=user_id, draft=data.draft(), task_id=data.task_id, once=await once(request)
        )
        location = f"{tasks_path(request, user_id)}/{written.task.id}"
        return _task_response(request, written, (b"location", location.encode()), status=201 if written.state else 200)

    @get(
        "/{task_id:str}",
        summary="View one task",
        operation_id="getTask",
        tags=["tasks"],
        responses=success("The task", CREATED)
        | success("The task still has that ETag", status=304)
        | errors(*INPUT, *ACCESS, *EXISTING, *STORAGE),
        response_headers=[ETAG],
        operation_class=reading(IF_NONE_MATCH),
    )
    async def get_task(request: StrictRequest, user_id: UserId, task_id: TaskId) -> ReadyResponse:
        """Return the task as it was last stored."""
        tags = known_tags(request)  # input is checked before existence, here and below
        task = await view(request, user_id, task_id)
        if is_unchanged(tags, task.version):
            return ReadyResponse.empty(304, _etag(task))
        return ReadyResponse.json(200, TaskResponse.of(task), _etag(task))

    @put(
        "/{task_id:str}",
        summary="Update a task",
        operation_id="updateTask",
        tags=["tasks"],
        responses=success("The task as it is now", UPDATED)
        | errors(*BODY, *ACCESS, *EXISTING, *WRITE, *IF_MATCH_REQUIRED, *KEY, *STORAGE),
        response_headers=[ETAG, SYNC_TOKEN, REPLAYED],
        operation_class=reading(*WRITE_HEADERS, body=UPDATE),
    )
    async def update_task(
        request: StrictRequest,
        user_id: UserId,
        task_id: TaskId,
        data: JSONBody[UpdateTaskRequest],
    ) -> ReadyResponse:
        """Omitted fields stay as they are. Completing sets `completed_at`, reopening clears it."""
        change, key = data.change(), await once(request)
        version = await writable_version(request, partial(view, request, user_id, task_id), requires_if_match=strict)
        written = await update(
            actor=request.actor,
            user_id=user_id,
            task_id=parse_task_id(task_id),
            change=change,
            expected_version=version,
            once=key,
        )
        return _task_response(request, written)

    @patch(
        "/{task_id:str}/complete",
        summary="Complete a task",
        operation_id="completeTask",
        tags=["tasks"],
        responses=success("The completed task", COMPLETED) | errors(*INPUT, *ACCESS, *EXISTING, *WRITE, *KEY, *STORAGE),
        response_headers=[ETAG, SYNC_TOKEN, REPLAYED],
        operation_class=reading(*WRITE_HEADERS),
    )
    async def complete_task(request: StrictRequest, user_id: UserId, task_id: TaskId) -> ReadyResponse:
        """Needs no body. Completing again changes nothing: the first `completed_at` stays."""
        key = await once(request)
        version = await writable_version(request, partial(view, request, user_id, task_id))
        written = await complete(
            actor=request.actor,
            user_id=user_id,
            task_id=parse_task_id(task_id),
            expected_version=version,
            once=key,
        )
        return _task_response(request, written)

    @delete(
        "/{task_id:str}",
        summary="Delete a task",
        operation_id="deleteTask",
        tags=["tasks"],
        responses=success("The task is deleted", status=204)
        | errors(*INPUT, *ACCESS, *EXISTING, *WRITE, *IF_MATCH_REQUIRED, *KEY, *STORAGE),
        response_headers=[SYNC_TOKEN, REPLAYED],
        operation_class=reading(*WRITE_HEADERS),
    )
    async def delete_task(request: StrictRequest, user_id: UserId, task_id: TaskId) -> None:
        """Delete the task permanently. Deleting it again responds with 404."""
        key = await once(request)
        version = await writable_version(request, partial(view, request, user_id, task_id), requires_if_match=strict)
        written = await remove(
            actor=request.actor,
            user_id=user_id,
            task_id=parse_task_id(task_id),
            expected_version=version,
            once=key,
        )
        # Litestar lets a handler of a response without content return nothing else.
        Exchange.of(request.scope).headers += sync_headers(request, written.state, is_replayed=written.is_replayed)

    async def check(request: Request[Any, Any, Any]) -> None:
        await access.check(request)
        check_query(request)

    return Router(
        f"{prefix}/{{user_id:str}}/tasks",
        route_handlers=[
            # First, or Litestar adds its own.
            *map(options_handler, ["/", "/changes", "/events", "/batch", "/{task_id:str}", "/{task_id:str}/complete"]),
            *list_handlers(use_cases),
            events_handler(use_cases.follow_changes, access.callers),
            batch_handler(use_cases.apply),
            create_task,
            get_task,
            update_task,
            complete_task,
            delete_task,
        ],
        before_request=check,
        request_class=StrictRequest,
        security=security,
    )


def _task_response(
    request: StrictRequest, written: Written[Task], *headers: tuple[bytes, bytes], status: int = 200
) -> ReadyResponse:
    task = written.task
    sync = sync_headers(request, written.state, is_replayed=written.is_replayed)
    return ReadyResponse.json(status, TaskResponse.of(task), _etag(task), *sync, *headers)


def _etag(task: Task) -> tuple[bytes, bytes]:
    return b"etag", etag(task.version).encode()
