"""Prints how many bytecode instructions each call takes, as JSON: `python -m tests.http.instructions`.

The count is exact and repeats: no socket, no database, no other thread. It runs in a process of its own because the
measurement of coverage traces, too.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import Any

from adapters.tokens import issue_token
from entrypoints.container import Container
from entrypoints.http.app import create_app
from entrypoints.http.server.observers import AccessLog
from entrypoints.log_writer import encode_json
from entrypoints.metrics.service import ServiceMetrics
from entrypoints.settings import Settings
from entrypoints.traces import open_traces
from tests.services import SECRET

WARM_UP = 3


class Calls:
    """Calls of the application, without a server."""

    def __init__(self, metrics: ServiceMetrics | None = None) -> None:
        settings = Settings.load({"DATABASE_URL": "memory://", "JWT_SECRET": SECRET}, dotenv=None)
        log = AccessLog(lambda _: None, encode_json)
        self._app = create_app(Container(settings=settings), observers=(log,), metrics=metrics)
        self._token = issue_token(SECRET, "ada").encode()

    async def __call__(self, method: str, end: str = "", body: bytes = b"") -> Any:
        """Return the decoded body of the response."""
        parts = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            parts.append(message.get("body", b""))

        path = f"/api/ada/tasks{end}"
        headers = [
            (b"host", b"127.0.0.1:8000"),
            (b"authorization", b"Bearer " + self._token),
            (b"content-type", b"application/json"),
        ]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "state": {},
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "asgi": {"version": "3.0"},
        }
        await self._app(scope, receive, send)
        return json.loads(b"".join(parts) or b"null")


async def counted(call: Callable[[], Awaitable[object]]) -> int:
    """Return the number of instructions of one call."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        await call()
    finally:
        sys.settrace(None)
    return count


async def main() -> None:
    """Count each call once it is warm."""
    call = Calls()
    tasks = [await call("POST", body=b'{"title": "Buy milk"}') for _ in range(100)]
    counts = {}
    for operation, method, end, body in (
        ("get", "GET", "/{id}", b""),
        ("list", "GET", "", b""),
        ("create", "POST", "", b'{"title": "Buy milk"}'),
        ("update", "PUT", "/{id}", b'{"title": "Buy oat milk"}'),
        ("complete", "PATCH", "/{id}/complete", b""),
        ("delete", "DELETE", "/{id}", b""),
    ):
        for task in tasks[:WARM_UP]:
            await call(method, end.format(id=task["id"]), body)
        path = end.format(id=tasks.pop()["id"])
        counts[operation] = await counted(partial(call, method, path, body))
    measured = Calls(ServiceMetrics())
    task, *others = [await measured("POST", body=b'{"title": "Buy milk"}') for _ in range(WARM_UP + 1)]
    for other in others:
        await measured("GET", f"/{other['id']}")
    counts["get with metrics"] = await counted(partial(measured, "GET", f"/{task['id']}"))
    assert open_traces(has_statements=True) == (None, ())
    assert "opentelemetry.sdk" not in sys.modules, "traces that are off cost nothing"  # Litestar loads the API
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main())
