"""An httpx transport that calls an ASGI application, and passes on its response as it is sent, event streams too."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

Message = Mapping[str, Any]


class InProcessTransport(httpx.AsyncBaseTransport):
    """Calls an application in the event loop of the caller. httpx's ASGITransport waits for the end of a response."""

    def __init__(self, app: Any) -> None:
        """Take an ASGI application. Its lifespan is not run."""
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response once its head is sent. Raises what the application raises before."""
        call = _Call(await request.aread(), has_body=request.method != "HEAD")
        call.task = asyncio.create_task(self._app(_scope(request), call.receive, call.send))
        call.task.add_done_callback(lambda _: call.sent.put_nowait(None))
        try:
            head = await call.sent.get()
        except asyncio.CancelledError:
            await call.aclose(cancels=True)
            raise
        if head is None:
            await call.task
            raise RuntimeError("the application sent no response")
        return httpx.Response(head["status"], headers=head["headers"], stream=call)


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "root_path": "",
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 0),
        "server": (request.url.host, request.url.port or 80),
    }


class _Call(httpx.AsyncByteStream):
    """One request, and the body of its response."""

    task: "asyncio.Task[None]"

    def __init__(self, body: bytes, *, has_body: bool) -> None:
        self.sent: asyncio.Queue[Message | None] = asyncio.Queue()
        """What the application sends; None at its end."""
        self._body: bytes | None = body
        self._has_body = has_body
        self._is_closed = asyncio.Event()

    async def receive(self) -> Message:
        """Return the request's body, and then wait until the client has read or closed the response."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._is_closed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Queue a message."""
        self.sent.put_nowait(message)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while message := await self.sent.get():
            if message.get("body") and self._has_body:
                yield message["body"]
            if not message.get("more_body"):
                return
        await self.task

    async def aclose(self, *, cancels: bool = False) -> None:
        """Tell the application that the client is gone, and wait for its end."""
        self._is_closed.set()
        if cancels:
            self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled() and not cancels:
            self.task.result()
