"""The outermost ASGI layer. It surrounds the framework, whose routing errors skip its own middleware.

It gives each request its exchange, its slot and its deadline, and each response its common headers.
"""

import asyncio
from collections.abc import Callable

from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, encoded_problem
from entrypoints.http.server.admission import ADMIN_PATHS, Admission, Rejected
from entrypoints.http.server.asgi import CLOSE, App, HeaderList, Message, Receive, Scope, Send
from entrypoints.http.server.connections import Connections
from entrypoints.http.server.drain import draining_on_signal
from entrypoints.http.server.exchange import CLIENT_GONE, SCOPE_KEY, Exchange
from entrypoints.http.server.limits import ServerLimits
from entrypoints.http.server.observers import RequestObserver
from entrypoints.http.server.output import WriteBatch

CACHE_CONTROL = (b"cache-control", b"private, no-cache")
SECURITY_HEADERS = (
    CACHE_CONTROL,
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
    """Surrounds an ASGI application of any kind."""

    def __init__(
        self,
        app: App,
        *,
        limits: ServerLimits,
        observers: tuple[RequestObserver, ...] = (),
        allows_origin: Callable[[str], bool] | None = None,
        admin_port: int | None = None,
    ) -> None:
        """Notify `observers` of each request; let pages of an allowed origin read the server's own responses."""
        self.limits = limits
        self.admission = Admission(limits)
        self.batch = WriteBatch(self.admission)
        """Of the responses of all connections."""
        self.ports = {
            "public": Connections(limits, limits.connections),
            "admin": Connections(limits, limits.admin_connections, paths=ADMIN_PATHS),
        }
        """The connections that have come by each of the two ports."""
        self._admin_port = admin_port
        self._app = app
        self._observers = observers
        self._allows_origin = allows_origin

    def connections(self, port: int | None) -> Connections:
        """Return the connections that have come by a port."""
        return self.ports["admin" if port and port == self._admin_port else "public"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and notify the observers at its end, whatever its outcome."""
        if scope["type"] == "lifespan":
            async with draining_on_signal(self.admission, delay=self.limits.shutdown_delay_seconds):
                await self._app(scope, receive, send)
        elif SCOPE_KEY in scope:
            await self._answer(scope, receive, send)
        else:  # called without the connection that admits requests before it passes them on
            scope = {**scope}
            exchange = Exchange.begin(scope)
            try:
                exchange.slot = self.admission.admit(exchange.path.encode())
            except Rejected as rejected:
                await self._respond(exchange, rejected.code, send)
                self.finish(exchange)
            else:
                await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        call = _Call(exchange, receive, send, self)
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        deadline = loop.call_later(self.limits.request_seconds, call.expire, task)
        try:
            await self._app(scope, call.receive, call.send)
            if not exchange.status:
                raise RuntimeError("the application has not responded")
            if exchange.stream and exchange.stream.has_begun:
                deadline.cancel()
                exchange.slot.leave()
                await exchange.stream.run(call.receive, call.send)
        except asyncio.CancelledError:
            # A cancellation that did not come from the deadline alone is passed on.
            if not call.is_late or task is None or task.uncancel():
                raise
            if not exchange.status:
                # The outcome of a write is unknown, as it is when the database is unavailable.
                await self._respond(exchange, "storage_unavailable", send)
        except Exception:
            if not exchange.status:
                await self._respond(exchange, "internal_error", send)
            raise
        finally:
            deadline.cancel()
            exchange.route = scope.get("path_template")
            self.finish(exchange)

    def problem(self, exchange: Exchange, code: str, detail: str = "") -> tuple[HeaderList, bytes]:
        """Record a problem as the response of an exchange, and return its headers and body."""
        exchange.problem_code = code
        exchange.status = exchange.status or KINDS[code].status
        body = encoded_problem(code, detail, instance=exchange.path, request_id=exchange.request_id)
        headers = [
            _PROBLEM,
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode(), value.encode()) for name, value in KINDS[code].headers.items()),
        ]
        if exchange.origin and self._allows_origin and self._allows_origin(exchange.origin.decode("latin-1")):
            headers += [(b"access-control-allow-origin", exchange.origin), (b"vary", b"Origin")]
        self.complete(headers, exchange)
        return headers, body

    def complete(self, headers: HeaderList, exchange: Exchange) -> None:
        """Add the headers that every response has."""
        given = dict(headers)
        if _SECURITY_NAMES.isdisjoint(given):
            headers += SECURITY_HEADERS
        else:
            headers += [header for header in SECURITY_HEADERS if header[0] not in given]
        if b"allow" in given:
            headers[:] = [(name, _with_head(value) if name == b"allow" else value) for name, value in headers]
        headers += exchange.headers
        headers.append((b"x-request-id", exchange.request_id.encode()))
        if self.admission.is_stopping:
            headers.append(CLOSE)

    def finish(self, exchange: Exchange) -> None:
        """Release what the exchange holds of the capacity, and notify the observers."""
        exchange.slot.leave()
        if exchange.stream:
            exchange.stream.leave()
        for observer in self._observers:
            observer.finished(exchange)

    async def _respond(self, exchange: Exchange, code: str, send: Send) -> None:
        """Send a problem in the application's place, the last response on its connection."""
        headers, body = self.problem(exchange, code)
        if CLOSE not in headers:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": KINDS[code].status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Call:
    """The application's view of its client, for one request."""

    __slots__ = ("_exchange", "_layer", "_receive", "_replaced", "_send", "is_late")

    def __init__(self, exchange: Exchange, receive: Receive, send: Send, layer: ExchangeLayer) -> None:
        self.is_late = False
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._layer = layer
        self._replaced = b""
        """The body to send in place of the application's."""

    def expire(self, task: "asyncio.Task[None] | None") -> None:
        """Cancel the task of a request at its deadline."""
        if task:
            self.is_late = True
            task.cancel()

    async def receive(self) -> Message:
        """Pass on what the client sends."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._exchange.status:
            self._exchange.status, self._exchange.client_gone = CLIENT_GONE, True
        return message

    async def send(self, message: Message) -> None:
        """Pass on the response, with the headers that every response has."""
        if message["type"] != "http.response.start":
            if self._replaced:
                message["body"] = self._replaced
            await self._send(message)
            return
        exchange, headers = self._exchange, [*message["headers"]]
        if message["status"] >= 400 and _PROBLEM not in headers:
            # The framework rejects a CORS preflight in plain text; a rejected page may not read the reason.
            exchange.origin = None
            headers, self._replaced = self._layer.problem(exchange, "validation_error")
        else:
            self._layer.complete(headers, exchange)
        message["headers"] = headers
        await self._send(message)
        exchange.status = exchange.status or message["status"]


def _with_head(allow: bytes) -> bytes:
    """Add HEAD to the methods of a path that has GET."""
    methods = {method.strip() for method in allow.split(b",")}
    return b", ".join(sorted(methods | ({b"HEAD"} if b"GET" in methods else set())))
