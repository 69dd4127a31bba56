"""The outermost layer, in plain ASGI, because Litestar's routing errors skip its middleware.

Every answer gets its request id here, and every request its bound in time and its one line in the log.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from uuid import uuid4

from litestar.config.cors import CORSConfig

from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, encoded_problem
from entrypoints.http.server.admission import Admission

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
App = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger("hextasks.request")
CLIENT_GONE = 499
"""The status logged for a client that went away before its answer; nginx's, for there is none in the standard."""
CLOSE = (b"connection", b"close")
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

    def __init__(self, app: App, admission: Admission, *, timeout: float, cors: CORSConfig | None = None) -> None:
        """Give every request `timeout` seconds to arrive, and as many again to be answered."""
        self.app = app
        self.admission = admission
        self.timeout = timeout
        self._cors = cors

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, watch its answer, and log it when it is over, however it ends."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self)
        try:
            async with asyncio.timeout(self.timeout):
                await self.app(exchange.scope, exchange.receive, exchange.send)
        except TimeoutError:
            if not exchange.status:
                # Whether a write was carried out is as unknown as when the storage is away.
                await exchange.refuse("storage_unavailable")
        finally:
            self.admission.leave(scope["raw_path"], exchange.scope.get("share"))  # let in by the protocol
            exchange.log()

    def refusal(
        self, code: str, path: str, request_id: str, request_headers: Headers, detail: str = ""
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return headers and body of an answer that the application is not asked for."""
        body = encoded_problem(code, detail, instance=path, request_id=request_id)
        headers = [
            (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in KINDS[code].headers.items()),
            *SECURITY_HEADERS,
            (b"x-request-id", request_id.encode()),
        ]
        origin = next((value for name, value in request_headers if name == b"origin"), b"")
        if self._cors and origin and self._cors.is_origin_allowed(origin.decode("latin-1")):
            headers += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        return headers, body


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Message, receive: Receive, send: Send, edge: Edge) -> None:
        self._started = time.perf_counter()
        self._method = scope["method"]
        self._receive, self._send = receive, send
        self._edge = edge
        self._request_id = request_id_of(scope["headers"])
        self._foreign = b""
        self.status = 0
        # A copy: the server goes on reading its own, in which a HEAD stays a HEAD and so gets no body.
        self.scope = {
            **scope,
            # A HEAD is answered as the GET that it stands for.
            "method": "GET" if self._method == "HEAD" else self._method,
            # Routed before it is decoded, so that an encoded slash in a user id does not end a segment.
            "path": scope["raw_path"].decode("ascii", "replace"),
            "request_id": self._request_id,
            "answer_headers": [],
        }

    async def receive(self) -> Message:
        """Hand on what the client sends."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.status:
            self.status = CLIENT_GONE
            self.scope["client_gone"] = True  # whatever fails for want of the body is nobody's mistake
        return message

    async def send(self, message: Message) -> None:
        """Hand on the answer, with the headers that every answer has."""
        if self._foreign:  # the body of an answer that became a problem
            message["body"] = self._foreign
        elif message["type"] == "http.response.start":
            self.status = self.status or message["status"]
            headers = [(name, _with_head(value) if name == b"allow" else value) for name, value in message["headers"]]
            if message["status"] >= 400 and (b"content-type", PROBLEM_MEDIA_TYPE.encode()) not in headers:
                # Litestar refuses a CORS preflight in plain text.
                path, code = self.scope["path"], "validation_error"
                headers, self._foreign = self._edge.refusal(code, path, self._request_id, ())
            set_already = {name for name, _ in headers}
            headers += [header for header in SECURITY_HEADERS if header[0] not in set_already]
            headers += self.scope["answer_headers"]
            if self._edge.admission.is_stopping:
                headers.append(CLOSE)
            if b"x-request-id" not in set_already:
                headers.append((b"x-request-id", self._request_id.encode()))
            message["headers"] = headers
        await self._send(message)

    async def refuse(self, code: str) -> None:
        """Answer with a problem in the application's place, the last on its connection."""
        self.scope["problem_code"] = code
        self.status = KINDS[code].status
        headers, body = self._edge.refusal(code, self.scope["path"], self._request_id, self.scope["headers"])
        await self._send({"type": "http.response.start", "status": self.status, "headers": [*headers, CLOSE]})
        await self._send({"type": "http.response.body", "body": body})

    def log(self) -> None:
        """Write the request's line."""
        fields = {
            "method": self._method,
            "route": self.scope.get("path_template"),
            "status": self.status,
            "duration_ms": round((time.perf_counter() - self._started) * 1000, 3),
            "request_id": self._request_id,
            "user_id": self.scope.get("user"),
            "code": self.scope.get("problem_code"),
        }
        _log.info("request", extra={"fields": fields})


def _with_head(allow: bytes) -> bytes:
    """Add HEAD to the methods of an address that has GET."""
    methods = {method.strip() for method in allow.split(b",")}
    return b", ".join(sorted(methods | ({b"HEAD"} if b"GET" in methods else set())))


def request_id_of(headers: Headers) -> str:
    """Return the client's request id if it is short and plain, else a new one."""
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _SANE_REQUEST_ID.fullmatch(given[0]):
        return given[0].decode()
    return str(uuid4())
