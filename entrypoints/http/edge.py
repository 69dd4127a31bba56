"""The outermost layer, in plain ASGI, because Litestar's routing errors skip its middleware.

Every answer gets its request id here, and every request its one line in the log.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from uuid import uuid4

from entrypoints.http.problems import PROBLEM_MEDIA_TYPE, encoded_problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger("hextasks.request")
CLIENT_GONE = 499
"""The status logged for a client that went away before its answer; nginx's, for there is none in the standard."""
SECURITY_HEADERS = (
    (b"cache-control", b"private, no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),  # which browsers heed over TLS only
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""On every answer that does not set them itself: OWASP's REST security cheat sheet."""
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")


class Edge:
    """Wraps the application; knows nothing of what it does."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, watch its answer, and log it when it is over, however it ends."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope["headers"])
        status, foreign = 0, b""
        # A copy: the server goes on reading its own, in which a HEAD stays a HEAD and so gets no body.
        inner = {
            **scope,
            # A HEAD is answered as the GET that it stands for.
            "method": "GET" if scope["method"] == "HEAD" else scope["method"],
            # Routed before it is decoded, so that an encoded slash in a user id does not end a segment.
            "path": scope["raw_path"].decode("ascii", "replace"),
            "request_id": request_id,
        }

        async def listen() -> Message:
            nonlocal status
            message = await receive()
            if message["type"] == "http.disconnect" and not status:
                status = CLIENT_GONE
                inner["client_gone"] = True  # whatever fails for want of the body is nobody's mistake
            return message

        async def watch(message: Message) -> None:
            nonlocal status, foreign
            if foreign:  # the body of an answer that became a problem
                message["body"] = foreign
            elif message["type"] == "http.response.start":
                status = status or message["status"]
                headers = [
                    (name, _with_head(value) if name == b"allow" else value) for name, value in message["headers"]
                ]
                if message["status"] >= 400 and (b"content-type", PROBLEM_MEDIA_TYPE.encode()) not in headers:
                    # Litestar refuses a CORS preflight in plain text.
                    foreign = encoded_problem("validation_error", instance=inner["path"], request_id=request_id)
                    headers = [
                        (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
                        (b"content-length", str(len(foreign)).encode()),
                    ]
                set_already = {name for name, _ in headers}
                headers += [header for header in SECURITY_HEADERS if header[0] not in set_already]
                message["headers"] = [*headers, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(inner, listen, watch)
        finally:
            fields = {
                "method": scope["method"],
                "route": inner.get("path_template"),
                "status": status,
                "duration_ms": round((time.perf_counter() - started) * 1000, 3),
                "request_id": request_id,
                "user_id": inner.get("user"),
                "code": inner.get("problem_code"),
            }
            _log.info("request", extra={"fields": fields})


def _with_head(allow: bytes) -> bytes:
    """Add HEAD to the methods of an address that has GET."""
    methods = {method.strip() for method in allow.split(b",")}
    return b", ".join(sorted(methods | ({b"HEAD"} if b"GET" in methods else set())))


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the client's request id if it is short and plain, else a new one."""
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _SANE_REQUEST_ID.fullmatch(given[0]):
        return given[0].decode()
    return str(uuid4())
