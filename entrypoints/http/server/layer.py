"""The outermost ASGI layer. It surrounds the framework, whose routing errors skip its own middleware.

Each request gets its exchange, its place in the capacity and its deadline here; each response its common headers.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, encoded_problem
from entrypoints.http.server.admission import UNCOUNTED, Admission, Rejected
from entrypoints.http.server.drain import draining_on_signal
from entrypoints.http.server.exchange import CLIENT_GONE, SCOPE_KEY, Exchange, Headers
from entrypoints.http.server.limits import ServerLimits
from entrypoints.http.server.observers import RequestObserver

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

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
"""On every response that does not set them itself: OWASP's REST security cheat sheet."""
_SECURITY_NAMES = frozenset(name for name, _ in SECURITY_HEADERS)
_PROBLEM = (b"content-type", PROBLEM_MEDIA_TYPE.encode())


class ExchangeLayer:
    """Surrounds an ASGI application; knows nothing of what it does."""

    def __init__(
        self,
        app: App,
        *,
        limits: ServerLimits,
        observers: tuple[RequestObserver, ...] = (),
        allows_origin: Callable[[str], bool] | None = None,
    ) -> None:
        """Tell `observers` about each request; let pages of an allowed origin read the server's own responses."""
        self.limits = limits
        self.admission = Admission(limits.max_concurrent_requests)
        self._app = app
        self._observers = observers
        self._allows_origin = allows_origin

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, and tell the observers when it is over, however it ends."""
        if scope["type"] == "lifespan":
            async with draining_on_signal(self.admission):
                await self._app(scope, receive, send)
            return
        exchange = scope.get(SCOPE_KEY)
        if exchange is None:  # called without the parser, which admits requests before it calls
            exchange = Exchange.begin(scope, UNCOUNTED)
            try:
                exchange.slot = self.admission.admit(exchange.path.encode())
            except Rejected as rejected:
                await self._respond(exchange, rejected.code, scope["headers"], send)
                self.finish(exchange)
                return
        call = _Call(exchange, receive, send, self)
        # A copy: the server goes on reading its own, in which a HEAD stays a HEAD and so gets no body.
        inner = {
            **scope,
            # A HEAD is answered as the GET that it stands for.
            "method": "GET" if exchange.method == "HEAD" else exchange.method,
            # Routed before it is decoded, so that an encoded slash in a user id does not end a segment.
            "path": exchange.path,
            SCOPE_KEY: exchange,
        }
        try:
            async with asyncio.timeout(self.limits.request_seconds):
                await self._app(inner, call.receive, call.send)
        except TimeoutError:
            if not exchange.status:
                # Whether a write was carried out is as unknown as when the database is unavailable.
                await self._respond(exchange, "storage_unavailable", scope["headers"], send)
        finally:
            exchange.route = exchange.route or inner.get("path_template")
            self.finish(exchange)

    def problem(
        self, exchange: Exchange, code: str, request_headers: Headers = (), detail: str = ""
    ) -> tuple[HeaderList, bytes]:
        """Make a problem the response of an exchange, and return its headers and body."""
        exchange.problem_code = code
        exchange.status = exchange.status or KINDS[code].status
        body = encoded_problem(code, detail, instance=exchange.path, request_id=exchange.request_id)
        headers = [
            _PROBLEM,
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in KINDS[code].headers.items()),
        ]
        origin = next((value for name, value in request_headers if name == b"origin"), b"")
        if self._allows_origin and origin and self._allows_origin(origin.decode("latin-1")):
            headers += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        self.complete(headers, exchange)
        return headers, body

    def complete(self, headers: HeaderList, exchange: Exchange) -> None:
        """Add the headers that every response has."""
        names = {name for name, _ in headers}
        if names.isdisjoint(_SECURITY_NAMES):
            headers += SECURITY_HEADERS
        else:
            headers += [header for header in SECURITY_HEADERS if header[0] not in names]
        if b"allow" in names:
            headers[:] = [(name, _with_head(value) if name == b"allow" else value) for name, value in headers]
        headers += exchange.headers
        headers.append((b"x-request-id", exchange.request_id.encode()))
        if self.admission.is_draining:
            headers.append(CLOSE)

    def finish(self, exchange: Exchange) -> None:
        """Give back what an exchange holds, and tell the observers."""
        exchange.slot.leave()
        for observer in self._observers:
            observer.finished(exchange)

    async def _respond(self, exchange: Exchange, code: str, request_headers: Headers, send: Send) -> None:
        """Send a problem in the application's place, the last response on its connection."""
        headers, body = self.problem(exchange, code, request_headers)
        if CLOSE not in headers:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": KINDS[code].status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Call:
    """The application's view of its client."""

    __slots__ = ("_exchange", "_layer", "_receive", "_replaced", "_send")

    def __init__(self, exchange: Exchange, receive: Receive, send: Send, layer: ExchangeLayer) -> None:
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._layer = layer
        self._replaced = b""
        """The body to send in place of the application's."""

    async def receive(self) -> Message:
        """Pass on what the client sends."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._exchange.status:
            self._exchange.status, self._exchange.client_gone = CLIENT_GONE, True
        return message

    async def send(self, message: Message) -> None:
        """Pass on the response, with the headers that every response has."""
        exchange = self._exchange
        if message["type"] == "http.response.start":
            headers = [*message["headers"]]
            if message["status"] >= 400 and _PROBLEM not in headers:
                # The framework refuses a CORS preflight in plain text.
                headers, self._replaced = self._layer.problem(exchange, "validation_error")
            else:
                exchange.status = exchange.status or message["status"]
                self._layer.complete(headers, exchange)
            message["headers"] = headers
        elif self._replaced:
            message["body"] = self._replaced
        await self._send(message)


def _with_head(allow: bytes) -> bytes:
    """Add HEAD to the methods of a path that has GET."""
    methods = {method.strip() for method in allow.split(b",")}
    return b", ".join(sorted(methods | ({b"HEAD"} if b"GET" in methods else set())))
