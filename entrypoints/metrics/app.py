"""`GET /metrics` in front of an application."""

from collections.abc import Awaitable

from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, encoded_problem
from entrypoints.http.response import ReadyResponse
from entrypoints.http.server.admission import METRICS
from entrypoints.http.server.asgi import App, Receive, Scope, Send
from entrypoints.http.server.exchange import Exchange
from entrypoints.metrics.service import ServiceMetrics
from entrypoints.metrics.text import OPEN_METRICS, TEXT

PATH = METRICS.decode()


class MetricsApp:
    """An ASGI application with `/metrics` on its admin port."""

    def __init__(self, app: App, metrics: ServiceMetrics, *, port: int | None) -> None:
        self._app, self._metrics, self._port = app, metrics, port

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request for metrics, and pass on all others, without a coroutine that would cost each of them."""
        if scope["type"] == "lifespan":
            return self._running(scope, receive, send)
        if scope["path"] == PATH and scope["server"] and scope["server"][1] == self._port:
            return self._answer(scope, receive, send)
        return self._app(scope, receive, send)

    async def _running(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._metrics.publishing():
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_template"] = PATH
        if scope["method"] == "GET":
            is_open_metrics = any(
                name == b"accept" and b"openmetrics-text" in value for name, value in scope["headers"]
            )
            body = self._metrics.exposition(is_open_metrics=is_open_metrics)
            response = ReadyResponse(200, body, (b"content-type", OPEN_METRICS if is_open_metrics else TEXT))
        else:
            exchange, code = Exchange.of(scope), "method_not_allowed"
            exchange.problem_code = code
            body = encoded_problem(code, instance=exchange.path, request_id=exchange.request_id)
            headers = ((b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"allow", b"GET"))
            response = ReadyResponse(KINDS[code].status, body, *headers)
        await response(scope, receive, send)
