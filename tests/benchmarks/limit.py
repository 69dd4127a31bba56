"""The limit: the same calls from a bare ASGI callable on asyncpg's pool, one statement each, only the token checked.

Reads DATABASE_URL and JWT_SECRET. Run by `uvicorn tests.benchmarks.limit:app`.
"""

import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import jwt
import msgspec

from tests.benchmarks.statements import COMPLETE, CREATE, DELETE, GET, LIST, UPDATE

CONNECTIONS = 10
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Task(msgspec.Struct, gc=False):
    user_id: str
    id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    version: int
    is_completed: bool


class Page(msgspec.Struct):
    tasks: list[Task]
    next_cursor: str | None


class Title(msgspec.Struct):
    title: str


_pool: asyncpg.Pool
_users: dict[bytes, str] = {}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Title).decode


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path = scope["path"].split("/")
    if path[1] == "health":
        status, body = 200, b"{}"
    elif (user := _user(scope["headers"])) != path[2]:
        status, body = 403, b"{}"
    else:
        status, body = await _result(scope["method"], user, path[4:], receive)
    await _answer(send, status, body)


async def _result(method: str, user: str, rest: list[str], receive: Receive) -> tuple[int, bytes]:
    if not rest:
        if method == "POST":
            title = _decode(await _body(receive)).title
            return 201, _encode(_task(await _row(CREATE, user, _new_id(), title, datetime.now(UTC))))
        rows = await _pool.fetch(LIST, user, 51)
        tasks = [_task(row) for row in rows[:50]]
        return 200, _encode(Page(tasks, str(tasks[-1].id) if len(rows) > 50 else None))
    task_id = UUID(rest[0])
    if method == "GET":
        row = await _row(GET, user, task_id)
    elif method == "PUT":
        row = await _row(UPDATE, user, task_id, _decode(await _body(receive)).title, datetime.now(UTC))
    elif method == "PATCH":
        row = await _row(COMPLETE, user, task_id, datetime.now(UTC))
    else:
        return (204 if await _row(DELETE, user, task_id, datetime.now(UTC)) else 404), b""
    return (200, _encode(_task(row))) if row else (404, b"{}")


def _task(row: Any) -> Task:
    user_id, task_id, title, created_at, updated_at, completed_at, version = row
    return Task(user_id, task_id, title, created_at, updated_at, completed_at, version, completed_at is not None)


def _new_id() -> UUID:
    """Return an id that grows with time, as UUIDv7 does."""
    return UUID(int=(time.time_ns() // 1_000_000) << 80 | 7 << 76 | uuid4().int & (1 << 76) - 1)


def _user(headers: list[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"authorization":
            user = _users.get(value)
            if user is None:
                user = _users[value] = jwt.decode(value[7:], os.environ["JWT_SECRET"], ["HS256"])["sub"]
            return user
    return ""


async def _row(sql: str, *arguments: object) -> Any:
    return await _pool.fetchrow(sql, *arguments)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))] if body else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _no_reset(_: asyncpg.Connection) -> None:
    """Leave a connection as it is: the default is a statement of its own after each request."""


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    global _pool
    _pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS, reset=_no_reset
    )
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
