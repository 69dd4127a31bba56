"""The composition of the ASGI application."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig

from entrypoints.container import Container
from entrypoints.http.api.access import AccessControl, TokenCallers
from entrypoints.http.api.documented import ERROR_CODES, SCHEMAS
from entrypoints.http.api.errors import EXCEPTION_HANDLERS
from entrypoints.http.api.health import health_router
from entrypoints.http.api.options import options_handler
from entrypoints.http.api.tasks import tasks_router
from entrypoints.http.cors import cors_config
from entrypoints.http.docs.document import openapi_document
from entrypoints.http.docs.index import index_router
from entrypoints.http.docs.page import docs_router
from entrypoints.http.limits import rate_limit, server_limits
from entrypoints.http.page.routes import page_router
from entrypoints.http.server.asgi import App
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.http.server.limits import ServerLimits
from entrypoints.http.server.observers import RequestObserver
from entrypoints.metrics.app import MetricsApp
from entrypoints.metrics.service import ServiceMetrics
from entrypoints.purging import is_low_load
from entrypoints.settings import Settings
from entrypoints.storage import Storage, open_storage

if TYPE_CHECKING:
    from entrypoints.traces.requests import Traces

UNUSED_SETTINGS = Settings(database_url="memory://", jwt_secret=secrets.token_urlsafe(32))
"""For routes that are described and not served. Should a server ignore that they refuse to start, no token is valid."""


def create_app(
    container: Container,
    *,
    observers: tuple[RequestObserver, ...] = (),
    metrics: ServiceMetrics | None = None,
    traces: "Traces | None" = None,
    limits: ServerLimits | None = None,
) -> ExchangeLayer:
    """Return the whole ASGI application of a container with prepared settings.

    `observers` are notified of each request. The admin port shows `metrics`, which observe the requests, too.
    `limits` are those of the settings unless given.
    """
    settings: Settings = container.settings()
    cors = cors_config(settings)
    limits = limits or server_limits(settings)

    def is_quiet() -> bool:
        return is_low_load(layer.admission.in_progress, limits.max_concurrent_requests)

    app: App = create_litestar(container, cors, max_body_size=limits.body_bytes, is_quiet=is_quiet)
    if traces:
        app, observers = traces.around(app), (traces, *observers)
    if metrics:
        app, observers = MetricsApp(app, metrics, port=settings.admin_port), (metrics.requests, *observers)
    layer = ExchangeLayer(
        app,
        limits=limits,
        observers=observers,
        allows_origin=cors.is_origin_allowed if cors else None,
        admin_port=settings.admin_port,
    )
    if metrics:
        metrics.watch(layer, container.signal(), container.storage())
    return layer


def create_litestar(
    container: Container, cors: CORSConfig | None, *, max_body_size: int, is_quiet: Callable[[], bool]
) -> Litestar:
    """Return the Litestar application, which must run within an ExchangeLayer.

    `is_quiet` tells whether there is capacity for work that can wait.
    """
    storage: Storage = container.storage()
    settings: Settings = container.settings()
    pages = [page_router(settings.page_path, user_claim=settings.jwt_user_claim)] if settings.page_path else []
    if settings.page_path != "/":
        pages.append(index_router(settings.page_path))

    @asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        async with open_storage(storage, container.purge(), is_quiet=is_quiet), container.keys().running():
            yield

    return Litestar(
        [
            *api_routers(container),
            # In development the reference is made at its first request, so that the start is faster.
            docs_router(api_document, user_claim=settings.jwt_user_claim, is_made_now=settings.in_production),
            *pages,
            options_handler("/*"),  # `OPTIONS *` is about the server as a whole
        ],
        lifespan=[running],
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=max_body_size,
        cors_config=cors,
        openapi_config=None,
        logging_config=None,
    )


def api_routers(container: Container) -> list[Router]:
    """Return the routes of the API, those of tasks under access control."""
    settings: Settings = container.settings()
    storage: Storage = container.storage()
    callers = TokenCallers(container.token_verifier())
    access = AccessControl(callers=callers, rate_limit=rate_limit(settings), storage=storage)
    tasks = tasks_router(container.use_cases(), access, strict=settings.require_if_match)
    return [tasks, health_router(storage, timeout=settings.database_timeout)]


@cache
def api_document() -> dict[str, Any]:
    """Return the OpenAPI document, generated from routers that are not served. It depends on no setting."""
    return openapi_document(api_routers(Container(settings=UNUSED_SETTINGS)), SCHEMAS, ERROR_CODES)
