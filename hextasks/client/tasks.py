"""The client, and its calls for one user."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from http import HTTPStatus
from typing import Self
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from application import IDEMPOTENCY_KEY, MAX_PAGE_SIZE, Operation
from domain import Task, TaskChange, TaskDraft
from domain.rules import USER_ID
from hextasks.client.messages import (
    BatchResult,
    ChangePage,
    Health,
    TaskPage,
    Written,
    batch_entry,
    batch_result,
    change_page,
    decoded,
    given,
    task_page,
    written,
)
from hextasks.client.stream import SILENCE_SECONDS, Event, follow
from hextasks.client.transport import Token, Transport


class TasksClient:
    """A connection to the task service, for `async with`, in one event loop.

    Every call is repeated after a lost connection and after 408, 429, 502, 503 and 504, with growing random pauses and
    no earlier than `Retry-After` says, as long as `total_seconds` allow. A write is done once, however often it is
    sent, because all its attempts carry the same idempotency key.

    Every call raises ApiProblem for what the service rejects, and NoResponse where no response came in time.
    """

    def __init__(
        self, url: str, *, token: Token, total_seconds: float = 30.0, http: httpx.AsyncClient | None = None
    ) -> None:
        """Take the URL of the service, and an access token or a function, perhaps asynchronous, that returns one.

        The function is called before each attempt, and once more after a 401. `http` has your own time limits of an
        attempt, proxies, certificates and event hooks, which see every response; closing it is up to you.

        Raises ValueError for a URL that is none of a service.
        """
        self._transport = Transport(url, token, total_seconds, http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; open event streams end with an error."""
        await self._transport.aclose()

    def of(self, user_id: str) -> "UserTasksClient":
        """Return the calls for one user: the one that the token names. Raises InvalidText."""
        USER_ID.check(user_id)
        return UserTasksClient(self._transport, user_id)

    async def live(self) -> Health:
        """Return once the service's process responds."""
        return decoded(await self._transport.send("GET", "/health/live"), Health)

    async def ready(self) -> Health:
        """Return once the service can reach its storage."""
        return decoded(await self._transport.send("GET", "/health/ready"), Health)


class UserTasksClient:
    """The tasks of one user. See TasksClient for retries and errors.

    Each write takes an `idempotency_key` of 1 to 255 ASCII characters, by default a random one. With a key that was
    kept, a later process can repeat a call whose outcome is unknown. `if_version` lets a write pass only if the task
    has that version, `unless_version` only if it has another one; otherwise ApiProblem `version_mismatch` is raised.
    """

    __slots__ = ("_tasks", "_transport", "user_id")

    def __init__(self, transport: Transport, user_id: str) -> None:
        """Made by `TasksClient.of`."""
        self.user_id = user_id
        self._transport = transport
        segment = quote(user_id, safe="") if user_id.strip(".") else user_id.replace(".", "%2E")
        self._tasks = f"/api/{segment}/tasks"

    async def create(
        self, draft: TaskDraft | str, *, task_id: UUID | None = None, idempotency_key: str | None = None
    ) -> Written[Task]:
        """Create an open task of a draft or a title.

        With an id of yours, a task of that id and with the values of the draft is returned as it is.

        Raises InvalidText for the title.
        """
        body = given(TaskDraft.of(draft)) | ({"id": task_id} if task_id else {})
        response = await self._write("POST", "", body, idempotency_key)
        return written(response, decoded(response, Task))

    async def get(self, task: UUID | Task) -> Task:
        """Return a task by its id. A Task that is still as it is stored is itself returned, and is not sent again."""
        if isinstance(task, UUID):
            return decoded(await self._transport.send("GET", f"{self._tasks}/{task}"), Task)
        known = {"If-None-Match": f'"{task.version}"'}
        response = await self._transport.send("GET", f"{self._tasks}/{task.id}", headers=known)
        return task if response.status_code == HTTPStatus.NOT_MODIFIED else decoded(response, Task)

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        completed: bool | None = None,
        q: str | None = None,
        known: TaskPage | None = None,
    ) -> TaskPage:
        """Return a page of the tasks, newest first: all of them, or those whose completion and text are given.

        Returns `known` itself if it came from the same call and the tasks have not changed since.
        """
        response = await self._transport.send(
            "GET",
            self._tasks,
            params={"limit": limit, "cursor": cursor, "completed": completed, "q": q},
            headers={"If-None-Match": known.etag} if known else {},
        )
        return known if known and response.status_code == HTTPStatus.NOT_MODIFIED else task_page(response)

    async def all(
        self, *, completed: bool | None = None, q: str | None = None, page_size: int = MAX_PAGE_SIZE
    ) -> AsyncIterator[Task]:
        """Yield the tasks of all pages, newest first. Tasks that are written meanwhile are in it, or are not."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self.list(limit=page_size, cursor=cursor or None, completed=completed, q=q)
            for task in page.tasks:
                yield task
            cursor = page.next_cursor

    async def update(
        self,
        task_id: UUID,
        change: TaskChange,
        *,
        if_version: int | None = None,
        unless_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Written[Task]:
        """Store the change, of one field at least, and return the task."""
        body = given(change)
        response = await self._write("PUT", f"/{task_id}", body, idempotency_key, if_version, unless_version)
        return written(response, decoded(response, Task))

    async def complete(
        self,
        task_id: UUID,
        *,
        if_version: int | None = None,
        unless_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Written[Task]:
        """Complete a task. One that is completed stays as it is."""
        end = f"/{task_id}/complete"
        response = await self._write("PATCH", end, None, idempotency_key, if_version, unless_version)
        return written(response, decoded(response, Task))

    async def delete(
        self,
        task_id: UUID,
        *,
        if_version: int | None = None,
        unless_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Written[None]:
        """Delete a task permanently."""
        end = f"/{task_id}"
        response = await self._write("DELETE", end, None, idempotency_key, if_version, unless_version)
        return written(response, None)

    async def batch(
        self, operations: Sequence[Operation], *, if_state: str | None = None, idempotency_key: str | None = None
    ) -> BatchResult:
        """Carry out 1 to 100 operations on different tasks in their order, or none of them.

        With `if_state` only if the tasks are in the state that this token names.
        """
        state = {"if_state": if_state} if if_state else {}
        body = {"operations": [batch_entry(operation) for operation in operations], **state}
        return batch_result(await self._write("POST", "/batch", body, idempotency_key))

    async def changes(self, *, since: str | None = None, limit: int | None = None) -> ChangePage:
        """Return a page of the changes after a token; without one all tasks, as a copy begins with.

        Raises ApiProblem `sync_token_expired` when a copy has to begin again without `since`.
        """
        params = {"since": since, "limit": limit}
        return change_page(await self._transport.send("GET", f"{self._tasks}/changes", params=params))

    async def all_changes(
        self, *, since: str | None = None, page_size: int = MAX_PAGE_SIZE
    ) -> AsyncIterator[ChangePage]:
        """Yield pages of changes to the end; keep the `next` of each that you have applied."""
        has_more = True
        while has_more:
            page = await self.changes(since=since, limit=page_size)
            yield page
            since, has_more = page.next, page.has_more

    def events(
        self, *, since: str | None = None, silence_seconds: float = SILENCE_SECONDS
    ) -> AsyncGenerator[Event, None]:
        """Yield changes as they happen, after the token `since` or from now on, without end and leaving none out.

        The first connection has to succeed within the total time; later ones are tried until one does. One on which
        nothing arrives for `silence_seconds` is given up. Use `contextlib.aclosing`, so that the connection is closed
        where you leave the loop. Raises ApiProblem where no retry helps: token and path are wrong, or the access has
        ended and the next token is rejected, too.
        """
        return follow(self._transport, f"{self._tasks}/events", since=since, silence_seconds=silence_seconds)

    async def _write(
        self,
        method: str,
        end: str,
        body: object,
        idempotency_key: str | None,
        if_version: int | None = None,
        unless_version: int | None = None,
    ) -> httpx.Response:
        key = str(uuid4()) if idempotency_key is None else idempotency_key
        IDEMPOTENCY_KEY.check(key)
        if not key.isascii():
            raise ValueError("An idempotency key must consist of ASCII characters.")
        escaped = key.replace("\\", r"\\").replace('"', r"\"")
        headers = {"Idempotency-Key": f'"{escaped}"'}
        if if_version is not None:
            headers["If-Match"] = f'"{if_version}"'
        if unless_version is not None:
            headers["If-None-Match"] = f'"{unless_version}"'
        return await self._transport.send(method, self._tasks + end, headers=headers, body=body)
