"""The six stories over HTTP. Each handler makes one use-case call, and turns its result into a response."""

from functools import partial
from typing import Any
from urllib.parse import quote

from litestar import Request, Router, delete, get, patch, post, put
from litestar.params import JSONBody

from application import DEFAULT_PAGE_SIZE, PageRequest
from domain import Task
from entrypoints.container import Container
from entrypoints.http.api.access import AccessControl
from entrypoints.http.api.bodies import StrictRequest
from entrypoints.http.api.cursors import decode_cursor, encode_cursor
from entrypoints.http.api.options import options_handler
from entrypoints.http.api.parameters import (
    PAGE_QUERY,
    Completed,
    Cursor,
    Limit,
    TaskId,
    UserId,
    check_query,
    parse_task_id,
)
from entrypoints.http.api.preconditions import (
    IF_MATCH,
    IF_NONE_MATCH,
    IF_NONE_MATCH_TO_WRITE,
    etag,
    is_unchanged,
    writable_version,
)
from entrypoints.http.api.schemas import CreateTaskRequest, TaskListResponse, TaskResponse, UpdateTaskRequest
from entrypoints.http.docs.responses import (
    ACCESS,
    BODY,
    ETAG,
    EXISTING,
    INPUT,
    LINK,
    LOCATION,
    STORAGE,
    WRITE,
    errors,
    success,
)
from entrypoints.http.response import ReadyResponse


def tasks_router(container: Container, access: AccessControl) -> Router:
    """Return the routes of a user's tasks. Before each request its access is checked, and then its query."""
    list_user_tasks, view_task = container.list_tasks(), container.get_task()
    create, update = container.create_task(), container.update_task()
    complete, remove = container.complete_task(), container.delete_task()

    async def view(request: StrictRequest, user_id: str, task_id: str) -> Task:
        return await view_task(actor=request.actor, user_id=user_id, task_id=parse_task_id(task_id))

    @get(
        "/",
        summary="View all personal tasks",
        operation_id="listTasks",
        responses=success(TaskListResponse, "A page of tasks") | errors(*INPUT, *ACCESS, *STORAGE),
        response_headers=[LINK],
        opt={"query": PAGE_QUERY},
    )
    async def list_tasks(
        request: StrictRequest,
        user_id: UserId,
        limit: Limit = DEFAULT_PAGE_SIZE,
        cursor: Cursor = None,
        completed: Completed = None,
    ) -> ReadyResponse:
        """Newest first, ties by id. Pages neither repeat nor skip a task that stayed, whatever is written meanwhile."""
        after = None if cursor is None else decode_cursor(cursor, user_id=user_id, completed=completed)
        wanted = PageRequest(limit=limit, after=after, completed=completed)
        page = await list_user_tasks(actor=request.actor, user_id=user_id, page=wanted)
        if page.next is None:
            return ReadyResponse.json(200, TaskListResponse.of(page, None))
        next_cursor = encode_cursor(page.next, user_id=user_id, completed=completed)
        state = "" if completed is None else f"&completed={str(completed).lower()}"
        link = f'<{_path(user_id)}?limit={limit}&cursor={next_cursor}{state}>; rel="next"'
        return ReadyResponse.json(200, TaskListResponse.of(page, next_cursor), (b"link", link.encode()))

    @post(
        "/",
        summary="Create a task",
        operation_id="createTask",
        responses=success(TaskResponse, "The new task", status=201) | errors(*BODY, *ACCESS, *STORAGE),
        response_headers=[ETAG, LOCATION],
    )
    async def create_task(request: StrictRequest, user_id: UserId, data: JSONBody[CreateTaskRequest]) -> ReadyResponse:
        """Create a task, which is open and first in the list."""
        written = await create(actor=request.actor, user_id=user_id, draft=data.draft())
        location = f"{_path(user_id)}/{written.task.id}"
        return _task_response(written.task, (b"location", location.encode()), status=201)

    @get(
        "/{task_id:str}",
        summary="View one task",
        operation_id="getTask",
        responses=success(TaskResponse, "The task")
        | success(None, "The task still has that ETag", status=304)
        | errors(*INPUT, *ACCESS, *EXISTING, *STORAGE),
        response_headers=[ETAG],
        opt={"headers": [IF_NONE_MATCH]},
    )
    async def get_task(request: StrictRequest, user_id: UserId, task_id: TaskId) -> ReadyResponse:
        """Return the task as it was last stored."""
        task = await view(request, user_id, task_id)
        if is_unchanged(request, task.version):
            return ReadyResponse.empty(304, _etag(task))
        return _task_response(task)

    @put(
        "/{task_id:str}",
        summary="Update a task",
        operation_id="updateTask",
        responses=success(TaskResponse, "The task as it is now") | errors(*BODY, *ACCESS, *EXISTING, *WRITE, *STORAGE),
        response_headers=[ETAG],
        opt={"headers": [IF_MATCH, IF_NONE_MATCH_TO_WRITE]},
    )
    async def update_task(
        request: StrictRequest,
        user_id: UserId,
        task_id: TaskId,
        data: JSONBody[UpdateTaskRequest],
    ) -> ReadyResponse:
        """Omitted fields stay as they are. Completing sets `completed_at`, reopening clears it."""
        change = data.change()  # input is checked before existence
        version = await writable_version(request, partial(view, request, user_id, task_id))
        written = await update(
            actor=request.actor,
            user_id=user_id,
            task_id=parse_task_id(task_id),
            change=change,
            expected_version=version,
        )
        return _task_response(written.task)

    @patch(
        "/{task_id:str}/complete",
        summary="Complete a task",
        operation_id="completeTask",
        responses=success(TaskResponse, "The completed task") | errors(*INPUT, *ACCESS, *EXISTING, *WRITE, *STORAGE),
        response_headers=[ETAG],
        opt={"headers": [IF_MATCH, IF_NONE_MATCH_TO_WRITE]},
    )
    async def complete_task(request: StrictRequest, user_id: UserId, task_id: TaskId) -> ReadyResponse:
        """Needs no body. Completing again changes nothing: the first `completed_at` stays."""
        version = await writable_version(request, partial(view, request, user_id, task_id))
        written = await complete(
            actor=request.actor, user_id=user_id, task_id=parse_task_id(task_id), expected_version=version
        )
        return _task_response(written.task)

    @delete(
        "/{task_id:str}",
        summary="Delete a task",
        operation_id="deleteTask",
        responses=success(None, "The task is deleted", status=204)
        | errors(*INPUT, *ACCESS, *EXISTING, *WRITE, *STORAGE),
        opt={"headers": [IF_MATCH, IF_NONE_MATCH_TO_WRITE]},
    )
    async def delete_task(request: StrictRequest, user_id: UserId, task_id: TaskId) -> None:
        """Delete the task permanently. Deleting it again responds with 404."""
        version = await writable_version(request, partial(view, request, user_id, task_id))
        await remove(actor=request.actor, user_id=user_id, task_id=parse_task_id(task_id), expected_version=version)

    async def check(request: Request[Any, Any, Any]) -> None:
        await access.check(request)
        check_query(request)

    return Router(
        "/api/{user_id:str}/tasks",
        route_handlers=[
            options_handler(["/", "/{task_id:str}", "/{task_id:str}/complete"]),  # first, or Litestar adds its own
            list_tasks,
            create_task,
            get_task,
            update_task,
            complete_task,
            delete_task,
        ],
        before_request=check,
        request_class=StrictRequest,
        tags=["tasks"],
        security=[{"bearer": []}],
    )


def _task_response(task: Task, *headers: tuple[bytes, bytes], status: int = 200) -> ReadyResponse:
    return ReadyResponse.json(status, TaskResponse.of(task), _etag(task), *headers)


def _etag(task: Task) -> tuple[bytes, bytes]:
    return b"etag", etag(task.version).encode()


def _path(user_id: str) -> str:
    return f"/api/{quote(user_id, safe='')}/tasks"
