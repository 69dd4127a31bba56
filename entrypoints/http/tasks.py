"""The six stories over HTTP. Each handler turns a request into one use-case call, and its result into an answer."""

import re
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, unquote, urlencode
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post, put
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter, SkipValidation

from application import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    CompleteTask,
    CreateTask,
    DeleteTask,
    GetTask,
    ListTasks,
    PageRequest,
    TaskNotFound,
    UpdateTask,
)
from domain import USER_ID, Task
from entrypoints.http.cursors import CURSOR_PATTERN, decode_cursor, encode_cursor
from entrypoints.http.docs import ACCESS, BODY, EXISTING, INPUT, STORAGE, WRITE, errors
from entrypoints.http.preconditions import IF_MATCH_PATTERN, etag, expected_version, is_unchanged
from entrypoints.http.problems import InvalidInput
from entrypoints.http.schemas import CreateTaskRequest, TaskListResponse, TaskResponse, UpdateTaskRequest

T = TypeVar("T")
Injected = NamedDependency[SkipValidation[T]]
UserId = Annotated[
    str,
    PathParameter(
        description="The user whose tasks are meant: the one that the token names.",
        schema_extra={"min_length": 1, "max_length": USER_ID.max_length},
    ),
]
TaskId = Annotated[str, PathParameter(description="The task's id.", format="uuid")]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="Write only if this is still the task's ETag, else answer 412.",
        schema_extra={"pattern": IF_MATCH_PATTERN},
    ),
]
IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="Answer 304 if this is still the task's ETag.")
]
ETAG, LINK, LOCATION = (ResponseHeader(name, documentation_only=True) for name in ("ETag", "Link", "Location"))
Caller = Request[str, Any, Any]


async def strict_query(request: Caller) -> None:
    """Refuse a query parameter that is misspelt, repeated or nearly true: it would silently ask for another thing."""
    known = _QUERY if request.route_handler.handler_name == "list_tasks" else {}
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise InvalidInput("There is no such query parameter here.", parameter=name)
        if name in seen:
            raise InvalidInput("Send this query parameter once.", parameter=name)
        if not known[name].fullmatch(value):
            raise InvalidInput(f"Expected {_EXPECTED[name]}.", parameter=name)
        seen.add(name)


_QUERY = {"limit": re.compile(r"-?[0-9]{1,18}"), "cursor": re.compile(".*"), "completed": re.compile("true|false")}
_EXPECTED = {"limit": "a whole number", "cursor": "a cursor", "completed": "true or false"}


class TaskController(Controller):
    """A user's tasks."""

    path = "/api/{user_id:str}/tasks"
    tags = ("tasks",)
    security = ({"bearer": []},)

    @get(
        summary="View all personal tasks",
        operation_id="listTasks",
        responses=errors(*INPUT, *ACCESS, *STORAGE),
        response_headers=[LINK],
    )
    async def list_tasks(
        self,
        request: Caller,
        user_id: UserId,
        list_tasks: Injected[ListTasks],
        limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE_SIZE, description="Tasks a page.")] = DEFAULT_PAGE_SIZE,
        cursor: Annotated[
            str | None,
            QueryParameter(description="`next_cursor` of the page before.", schema_extra={"pattern": CURSOR_PATTERN}),
        ] = None,
        completed: Annotated[
            bool | None, QueryParameter(description="Only completed tasks, or only open ones.")
        ] = None,
    ) -> Response[TaskListResponse]:
        """Newest first, ties by id. Pages neither repeat nor skip a task that stayed, whatever is written meanwhile."""
        after = decode_cursor(cursor, user_id=user_id, completed=completed) if cursor is not None else None
        wanted = PageRequest(limit=limit, after=after, completed=completed)
        page = await list_tasks(actor=request.user, user_id=user_id, page=wanted)
        if page.next is None:
            return Response(TaskListResponse.of(page, None))
        next_cursor = encode_cursor(page.next, user_id=user_id, completed=completed)
        query = {"limit": limit, "cursor": next_cursor}
        if completed is not None:
            query["completed"] = str(completed).lower()
        link = f'<{_path(user_id)}?{urlencode(query)}>; rel="next"'
        return Response(TaskListResponse.of(page, next_cursor), headers={"Link": link})

    @post(
        summary="Create a task",
        operation_id="createTask",
        responses=errors(*BODY, *ACCESS, *STORAGE),
        response_headers=[ETAG, LOCATION],
    )
    async def create_task(
        self, request: Caller, user_id: UserId, data: JSONBody[CreateTaskRequest], create_task: Injected[CreateTask]
    ) -> Response[TaskResponse]:
        """Make a task: open, and on top of the list."""
        task = await create_task(actor=request.user, user_id=user_id, draft=data.draft())
        return _answer(task, headers={"Location": f"{_path(user_id)}/{task.id}"})

    @get(
        "/{task_id:str}",
        summary="View one task",
        operation_id="getTask",
        responses=errors(*INPUT, *ACCESS, *EXISTING, *STORAGE)
        | {304: ResponseSpec(None, description="Still that ETag")},
        response_headers=[ETAG],
    )
    async def get_task(
        self,
        request: Caller,
        user_id: UserId,
        task_id: TaskId,
        get_task: Injected[GetTask],
        if_none_match: IfNoneMatch = None,
    ) -> Response[TaskResponse] | Response[None]:
        """Answer with the task as it was last stored."""
        task = await get_task(actor=request.user, user_id=user_id, task_id=_task_id(task_id))
        if is_unchanged(task.version, if_none_match):
            return Response(None, status_code=304, headers={"ETag": etag(task.version)})
        return _answer(task)

    @put(
        "/{task_id:str}",
        summary="Update a task",
        operation_id="updateTask",
        responses=errors(*BODY, *ACCESS, *EXISTING, *WRITE, *STORAGE),
        response_headers=[ETAG],
    )
    async def update_task(
        self,
        request: Caller,
        user_id: UserId,
        task_id: TaskId,
        data: JSONBody[UpdateTaskRequest],
        update_task: Injected[UpdateTask],
        if_match: IfMatch = None,
    ) -> Response[TaskResponse]:
        """Fields that are left out stay. Completing sets `completed_at`, reopening clears it."""
        version, change = expected_version(if_match), data.change()  # input is checked before existence
        task = await update_task(
            actor=request.user, user_id=user_id, task_id=_task_id(task_id), change=change, expected_version=version
        )
        return _answer(task)

    @patch(
        "/{task_id:str}/complete",
        summary="Complete a task",
        operation_id="completeTask",
        responses=errors(*INPUT, *ACCESS, *EXISTING, *WRITE, *STORAGE),
        response_headers=[ETAG],
    )
    async def complete_task(
        self,
        request: Caller,
        user_id: UserId,
        task_id: TaskId,
        complete_task: Injected[CompleteTask],
        if_match: IfMatch = None,
    ) -> Response[TaskResponse]:
        """Need no body. Completing again changes nothing: the first `completed_at` stays."""
        task = await complete_task(
            actor=request.user,
            user_id=user_id,
            expected_version=expected_version(if_match),
            task_id=_task_id(task_id),
        )
        return _answer(task)

    @delete(
        "/{task_id:str}",
        summary="Delete a task",
        operation_id="deleteTask",
        responses=errors(*INPUT, *ACCESS, *EXISTING, *WRITE, *STORAGE),
    )
    async def delete_task(
        self,
        request: Caller,
        user_id: UserId,
        task_id: TaskId,
        delete_task: Injected[DeleteTask],
        if_match: IfMatch = None,
    ) -> None:
        """For ever; a second time answers 404."""
        await delete_task(
            actor=request.user,
            user_id=user_id,
            expected_version=expected_version(if_match),
            task_id=_task_id(task_id),
        )


def _answer(task: Task, headers: dict[str, str] | None = None) -> Response[TaskResponse]:
    return Response(TaskResponse.of(task), headers={"ETag": etag(task.version), **(headers or {})})


def _path(user_id: str) -> str:
    return f"/api/{quote(user_id, safe='')}/tasks"


def _task_id(text: str) -> UUID:
    """Return the id that a path names; one that cannot exist is answered like one that does not."""
    try:
        task_id = UUID(unquote(text))
    except ValueError:
        raise TaskNotFound from None
    if str(task_id) != unquote(text).lower():
        raise TaskNotFound
    return task_id
