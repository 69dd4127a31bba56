"""The tasks in a Litestar application: your own, by `TasksPlugin`, or none but them, by `create_app`.

Needs the `http` extra, and `postgres` for PostgreSQL. The `litestar` command works with both kinds of application:

```console
$ export LITESTAR_APP=hextasks.litestar:create_app
$ litestar routes
$ litestar schema openapi --output openapi.json
$ litestar run --port 8000
```
"""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from copy import copy
from importlib.metadata import version
from inspect import isawaitable
from math import inf
from typing import Any, TypeAlias
from urllib.parse import quote

from click import Group
from litestar import Litestar, Request, Response, Router
from litestar.config.app import AppConfig
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.plugins import CLIPlugin, InitPlugin
from litestar.types import ExceptionHandlersMap, Guard

from adapters.tokens import Keys
from application import Tasks
from entrypoints.container import Container
from entrypoints.http.api.access import AccessControl, Callers, Lease, TokenCallers
from entrypoints.http.api.errors import API_ERRORS, problem_response
from entrypoints.http.api.tasks import SECURITY, tasks_router
from entrypoints.http.app import UNUSED_SETTINGS
from entrypoints.http.cors import cors_config
from entrypoints.http.docs.document import COMPONENTS
from entrypoints.http.limits import rate_limit
from entrypoints.http.mounted import MountedLayer, ending_on_signal
from entrypoints.http.problems import Problem
from entrypoints.http.server.admission import Admission
from entrypoints.http.server.exchange import SCOPE_KEY, Exchange
from entrypoints.http.server.limits import ServerLimits
from entrypoints.purging import is_low_load
from entrypoints.settings import Settings, SettingsError
from entrypoints.start import prepared, with_secret
from entrypoints.storage import ReadyStorage, Storage, open_storage

__all__ = ["Settings", "SettingsError", "TasksPlugin", "UserOf", "create_app"]

UserOf: TypeAlias = Callable[[Request[Any, Any, Any]], str | Awaitable[str]]
"""Returns the id of a request's user, unique within the storage, or raises an error that the application handles."""


def _problem(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the response for an error, which a middleware of the application's may raise before ours has run."""
    scope: Any = request.scope
    scope.setdefault(SCOPE_KEY, Exchange.begin({**scope}))
    return problem_response(request, error)


_HANDLERS: ExceptionHandlersMap = dict.fromkeys(API_ERRORS, _problem)
"""Other errors, as those of the application's guards, are left to the application's handlers."""


class TasksPlugin(InitPlugin):
    """Adds the API of tasks to a Litestar application: routes, their errors, their documentation, and a lifespan.

    ```python
    app = Litestar(plugins=[TasksPlugin(Settings.load())])
    app = Litestar(plugins=[TasksPlugin(tasks, user_of=lambda request: request.user.id)])
    ```

    The routes are `{path}/{user_id}/tasks` and below. The application's guards, middleware, hooks, CORS and other
    settings apply to them, except for its class of requests, and its own routes stay as they are. Errors of the API are
    `application/problem+json`; all others, those of guards and of routing included, are the application's. Litestar's
    compression would keep events back: exclude `/tasks/events$`.

    Any ASGI server will do. What differs from the service's own: HEAD is a 405, user ids with a slash are not found,
    and the server limits requests in progress and their time.
    """

    def __init__(
        self,
        tasks: Tasks | Settings,
        *,
        user_of: UserOf | None = None,
        path: str = "/api",
        guards: Sequence[Guard] = (),
    ) -> None:
        """Serve use-cases on a storage that the application opens, or the storage that settings name.

        Without `user_of` users are those of the settings' bearer tokens. With it a stream of events is not ended by
        the expiry of a token, but after ten minutes at most. `guards` are for the API's routes only.

        Raises ValueError for settings that lack a database or a key for tokens, and StartError for a malformed URL.
        """
        self._storage: Storage
        self._callers: Callers
        self._keys: Keys | None = None
        if isinstance(tasks, Settings):
            self._settings, container = tasks, Container(settings=tasks)
            if not tasks.database_url:
                raise ValueError("the settings need DATABASE_URL: postgresql://… or memory://")
            self._storage, self._tasks = container.storage(), container.use_cases()
        else:
            self._settings, container = Settings(), None
            self._storage, self._tasks = ReadyStorage(tasks.get.tasks), tasks
        if user_of:
            self._callers = _OwnCallers(user_of)
        elif container and (self._settings.jwt_secret or self._settings.jwt_jwks_url):
            self._keys, self._callers = container.keys(), TokenCallers(container.token_verifier())
        else:
            raise ValueError("user_of is needed, or settings with JWT_SECRET or JWT_JWKS_URL")
        self._path = path.rstrip("/")
        self._guards = [*guards]
        self._limits = ServerLimits(
            max_concurrent_requests=sys.maxsize,
            request_seconds=inf,
            streams=self._settings.max_streams,
            streams_per_user=self._settings.max_streams_per_user,
        )
        self._admission = Admission(self._limits)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the routes, the lifespan, and what the OpenAPI document says beside the operations."""
        app_config.route_handlers.append(self._router())
        app_config.lifespan.append(self._running)
        if (config := app_config.openapi_config) and self._keys:
            given = config.components if isinstance(config.components, list) else [config.components]
            app_config.openapi_config = config = copy(config)  # another application may have the same one
            config.components = [*given, COMPONENTS]
        return app_config

    def _router(self) -> Router:
        limit, strict = rate_limit(self._settings), self._settings.require_if_match
        access = _DecodedAccessControl(callers=self._callers, rate_limit=limit, storage=self._storage)
        admission = self._admission
        security = SECURITY if self._keys else None
        tasks = tasks_router(self._tasks, access, strict=strict, prefix="", security=security)
        tasks.before_request = _after_theirs(tasks.before_request)
        return Router(
            self._path or "/",
            route_handlers=[tasks],
            guards=self._guards,
            middleware=[lambda app: MountedLayer(app, admission)],  # Litestar copies what is no function
            exception_handlers=_HANDLERS,
            request_max_body_size=self._limits.body_bytes,
        )

    @asynccontextmanager
    async def _running(self, _: Litestar) -> AsyncIterator[None]:
        keys = self._keys.running() if self._keys else nullcontext()

        def is_quiet() -> bool:
            return is_low_load(self._admission.in_progress, self._settings.max_concurrent_requests)

        storage = open_storage(self._storage, self._tasks.purge, is_quiet=is_quiet)
        with ending_on_signal(self._admission.streams):
            async with storage, keys:
                yield


def _after_theirs(ours: Any) -> Callable[[Request[Any, Any, Any]], Awaitable[Any]]:
    """Return a hook that runs the application's `before_request` first, which Litestar would replace by ours."""

    async def before_request(request: Request[Any, Any, Any]) -> Any:
        theirs = request.app.before_request
        response = await theirs(request) if theirs else None
        return await ours(request) if response is None else response

    return before_request


class _OwnCallers:
    """The users whom the application knows."""

    def __init__(self, user_of: UserOf) -> None:
        self._user_of = user_of

    async def user_id(self, request: Request[Any, Any, Any]) -> str:
        given = self._user_of(request)
        user_id = await given if isawaitable(given) else given
        if not isinstance(user_id, str):
            raise TypeError(f"user_of has to return a str, not {type(user_id).__name__}")
        return user_id

    async def lease(self, _: Request[Any, Any, Any]) -> Lease:
        async def check() -> None:
            pass

        return Lease(inf, check)


class _DecodedAccessControl(AccessControl):
    """Access control behind a server that decodes paths."""

    async def check(self, request: Request[Any, Any, Any]) -> None:
        given = request.scope["path_params"]
        request.scope["path_params"] = {**given, "user_id": quote(given["user_id"], safe="")}  # as it was sent
        await super().check(request)


def create_app() -> Litestar:
    """Return an application of the API alone, with the settings of the environment and `.env`, for `LITESTAR_APP`.

    Its document is at `/schema`, without Litestar's pages, which load scripts of others. `litestar run` starts an
    embedded PostgreSQL and makes a key for tokens if the settings name none; other servers need both settings. In
    production, run `hextasks serve`.

    Raises SettingsError.
    """
    settings = Settings.load()
    is_prepared = bool(settings.database_url and (settings.jwt_secret or settings.jwt_jwks_url))
    shown = settings if is_prepared else UNUSED_SETTINGS
    return Litestar(
        plugins=[TasksPlugin(shown), _Preparation(settings)],
        on_startup=[] if is_prepared else [_refuse_to_start],
        cors_config=cors_config(settings),
        openapi_config=OpenAPIConfig(
            "hextasks", version("hextasks"), use_handler_docstrings=True, render_plugins=[JsonRenderPlugin()]
        ),
    )


class _Preparation(CLIPlugin):
    """Prepares the database and the key for the server that `litestar run` starts, which reads the environment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def on_cli_init(self, cli: Group) -> None:
        pass

    @contextmanager
    def server_lifespan(self, app: Litestar) -> Iterator[None]:  # noqa: ARG002
        with prepared(with_secret(self._settings)) as settings:
            given = {"DATABASE_URL": settings.database_url, "JWT_SECRET": settings.jwt_secret}
            os.environ |= {name: value for name, value in given.items() if value}
            yield


def _refuse_to_start() -> None:
    raise SettingsError("set DATABASE_URL, and JWT_SECRET or JWT_JWKS_URL; only `litestar run` does without them")
