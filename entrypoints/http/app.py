"""The ASGI application, put together."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dependency_injector import providers
from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard
from litestar.types.internal_types import RouteHandlerMapItem

from application import StorageUnavailable
from entrypoints.container import Container
from entrypoints.http.api.access import authenticated_by, own_tasks_only
from entrypoints.http.api.bodies import MAX_BODY_BYTES, StrictRequest
from entrypoints.http.api.errors import EXCEPTION_HANDLERS
from entrypoints.http.api.health import health_router
from entrypoints.http.api.rate_limit import RateLimit, limited_by
from entrypoints.http.api.tasks import TaskController, strict_query
from entrypoints.http.docs.document import StrictBodySchemas, assets_router, complete, openapi_config
from entrypoints.http.server.admission import Admission
from entrypoints.http.server.exchange import Edge
from entrypoints.logs import configure_logging
from entrypoints.settings import Settings
from entrypoints.start import describe_failure
from entrypoints.storage import Storage

_log = logging.getLogger("hextasks.storage")

USE_CASES = ("list_tasks", "create_task", "get_task", "update_task", "complete_task", "delete_task")


def create_litestar(container: Container, admission: Admission) -> Litestar:
    """Make the application within its outermost layer."""
    settings: Settings = container.settings()
    storage: Storage = container.storage()

    @asynccontextmanager
    async def open_storage(_: Litestar) -> AsyncIterator[None]:
        try:
            try:
                await storage.start()
            except StorageUnavailable as error:  # it serves as soon as that is back
                _log.warning("starting while the database is unavailable: %s", describe_failure(error))
            async with container.keys().running(), admission.stopped_by_signal():
                yield
        finally:
            await storage.close()

    limits = []
    if settings.rate_limit_burst:
        limit = RateLimit(burst=settings.rate_limit_burst, per_second=settings.rate_limit_per_second)
        limits.append(limited_by(limit))
    tasks = _TaskRouter(
        "/",
        route_handlers=[TaskController],
        guards=[authenticated_by(container.token_verifier(), admission), *limits, own_tasks_only, checked(storage)],
        before_request=strict_query,
        dependencies={name: _provide(getattr(container, name)) for name in USE_CASES},
    )
    app = Litestar(
        [tasks, health_router(storage), assets_router()],
        lifespan=[open_storage],
        exception_handlers=EXCEPTION_HANDLERS,
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
        cors_config=cors_config(settings),
        openapi_config=openapi_config(),
        plugins=[StrictBodySchemas()],
        logging_config=None,
    )
    complete(app.openapi_schema)
    return app


def checked(storage: Storage) -> Guard:
    """Make the guard that lets nobody work on a storage which was away at the start and has not been checked since."""

    async def check(_: ASGIConnection[Any, Any, Any, Any], __: BaseRouteHandler) -> None:
        await storage.check()

    return check


class _TaskRouter(Router):
    """Forgets the OPTIONS handlers that Litestar makes on the way, which know only the first method of a path.

    The application then makes them anew, from all the methods.
    """

    @property
    def route_handler_method_map(self) -> dict[str, RouteHandlerMapItem]:
        """Map paths to their handlers by method."""
        known = super().route_handler_method_map
        return {path: {m: h for m, h in handlers.items() if m != "OPTIONS"} for path, handlers in known.items()}


def cors_config(settings: Settings) -> CORSConfig | None:
    """Say what pages of the allowed origins may do, if there are any."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "X-Request-ID"],
        expose_headers=[
            *("ETag", "Link", "Location", "RateLimit", "RateLimit-Policy"),
            *("Retry-After", "WWW-Authenticate", "X-Request-ID"),
        ],
    )


def create_app(container: Container) -> Edge:
    """Make the whole ASGI application from a container with prepared settings."""
    settings: Settings = container.settings()
    admission = Admission(settings.max_concurrent_requests)
    litestar = create_litestar(container, admission)
    return Edge(litestar, admission, timeout=settings.request_timeout, cors=cors_config(settings))


def create_app_from_environment() -> Edge:
    """Make the application as each server process does, from an environment that names database and token key."""
    settings = Settings.load()
    configure_logging(settings.log_level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return create_app(Container(settings=settings))


def _end_with_parent() -> None:
    """End when the process that started this one is killed, or this one would keep the port."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _provide(provider: providers.Provider[object]) -> Provide:
    use_case = provider()
    return Provide(lambda: use_case, sync_to_thread=False, use_cache=True)
