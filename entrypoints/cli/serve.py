"""`hextasks serve`: prepares, prints the address, and runs uvicorn, in this process or in several.

The application is loaded by the processes that serve: a parent of several does without it.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import uvicorn

from application import StorageUnavailable
from entrypoints.cli import GC_THRESHOLD, flush_output
from entrypoints.cli.announcement import announcement
from entrypoints.cli.supervisors import CODE, end_with, supervise
from entrypoints.http.limits import server_limits
from entrypoints.http.server.connection import HttpConnection
from entrypoints.http.server.descriptors import raise_descriptor_limit
from entrypoints.http.server.drain import hangup_signals
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.http.server.listener import listen
from entrypoints.http.server.observers import AccessLog, RequestObserver
from entrypoints.log_writer import LogWriter
from entrypoints.logs import configure_logging
from entrypoints.settings import Settings
from entrypoints.start import StartError, prepared, with_secret
from entrypoints.storage import opened_postgres
from entrypoints.traces import add_variables, open_traces

METRICS_FOLDER = "HEXTASKS_METRICS_FOLDER"
"""The variable by which a parent tells its server processes where they publish their numbers."""
_MEMORY = "/dev/shm"  # noqa: S108  # on Linux a file system in memory, writable in a read-only container, too
STOP_TIMEOUT_SECONDS = 15
"""How long requests may go on after the port was closed, which is at most DRAIN_SECONDS after SIGTERM: together less
than the 30 seconds after which Kubernetes kills."""


def serve(settings: Settings, *, reload: bool = False) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit status. With `reload`, restart when the code changes.

    Raises SettingsError, StartError and StorageUnavailable before the first request, never after.
    """
    add_variables(os.environ, Path(".env"))
    writer = configure_logging(settings.log_level, settings.log_format)
    for number in (signal.SIGTERM, signal.SIGINT, *hangup_signals()):
        signal.signal(number, _stop)
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in _listening(settings)]
        ready = stack.enter_context(prepared(with_secret(settings)))
        asyncio.run(_check_storage(ready))
        ports = [listener.getsockname()[1] for listener in listeners]
        print(announcement(settings, ready, *ports, reload=reload))
        flush_output()
        ready = msgspec.structs.replace(ready, admin_port=ports[1] if len(ports) > 1 else None)
        if ready.web_concurrency == 1 and not reload:
            server = uvicorn.Server(server_config(_create_app(ready, writer)))
            server.run(sockets=listeners)
            return 0 if server.started else 1
        os.environ |= {"DATABASE_URL": ready.database_url or "", "JWT_SECRET": ready.jwt_secret or ""}
        os.environ["ADMIN_PORT"] = str(ready.admin_port or "")
        if ready.has_metrics and not reload:
            os.environ[METRICS_FOLDER] = str(stack.enter_context(_metrics_folder()))
        factory = f"{create_worker_app.__module__}:{create_worker_app.__qualname__}"
        return supervise(server_config(factory, ready.web_concurrency, reload=reload), listeners)


def _stop(*_: object) -> None:
    """Terminate the process gracefully.

    While uvicorn serves, it receives the signal, and raises it again when the last request is answered.
    """
    sys.exit(0)


def observers(writer: LogWriter) -> tuple[RequestObserver, ...]:
    """Return the observers of all requests: the access log, if the log level includes it."""
    is_logged = logging.getLogger("hextasks.request").isEnabledFor(logging.INFO)
    return (AccessLog(writer.write, writer.encode),) if is_logged else ()


class _Config(uvicorn.Config):
    def configure_logging(self) -> None:
        """Prepare a worker process; uvicorn calls this before anything else in it."""
        super().configure_logging()
        if parent := multiprocessing.parent_process():
            # uvicorn raises the signal once more at the end, which would kill the process before its log is written.
            signal.signal(signal.SIGTERM, _stop)
            threading.Thread(target=end_with, args=[parent], daemon=True).start()


def create_worker_app() -> ExchangeLayer:
    """Make the application of one worker process, from an environment that names database and token key."""
    settings = Settings.load()
    return _create_app(settings, configure_logging(settings.log_level, settings.log_format))


def _create_app(settings: Settings, writer: LogWriter) -> ExchangeLayer:
    """Make the application of this process, and exempt it and all modules from garbage collection.

    A full collection of them stops the event loop for 50 to 200 ms every few thousand requests. A request leaves no
    cyclic garbage, so that a higher threshold lets most of its objects be freed before a collection examines them.
    """
    from entrypoints.container import Container
    from entrypoints.http.app import create_app
    from entrypoints.metrics.service import ServiceMetrics

    raise_descriptor_limit()
    folder = os.environ.get(METRICS_FOLDER)
    metrics = ServiceMetrics(Path(folder) if folder else None) if settings.has_metrics else None
    if metrics:
        metrics.watch_log(writer)
    traces, statement_observers = open_traces(has_statements=settings.storage != "memory")
    if metrics:
        statement_observers = (metrics.statements, *statement_observers)
    container = Container(settings=settings, statement_observers=statement_observers)
    app = create_app(container, observers=observers(writer), metrics=metrics, traces=traces)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    return app


@contextmanager
def _metrics_folder() -> Iterator[Path]:
    """Make a folder for the numbers of the server processes, in memory where that is a file system.

    Raises StartError.
    """
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    try:
        made = tempfile.TemporaryDirectory(prefix="hextasks-metrics-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise StartError(
            f"no folder for the metrics of several processes: {error}; set TMPDIR, or METRICS=false"
        ) from error
    with made as folder:
        yield Path(folder)


def server_config(app: object, workers: int = 1, *, reload: bool = False) -> uvicorn.Config:
    """Return how uvicorn runs the application."""
    return _Config(
        app,  # type: ignore[arg-type]
        factory=isinstance(app, str),
        workers=workers,
        reload=reload,
        reload_dirs=CODE if reload else None,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=HttpConnection,
        ws="none",
        timeout_graceful_shutdown=STOP_TIMEOUT_SECONDS,
    )


def _listening(settings: Settings) -> Iterator[socket.socket]:
    """Bind the ports before anything else is started, so that a second service fails at once and changes nothing.

    The admin port has the same host, because an orchestrator probes it from outside of the machine's loopback.
    """
    raise_descriptor_limit()
    limits = server_limits(settings)
    if limits.connections < 1:
        raise StartError("too few open files are allowed; raise the limit (ulimit -n), or lower DATABASE_POOL_SIZE")
    for name, port in (("PORT", settings.port), ("ADMIN_PORT", settings.admin_port)):
        if port is None:
            continue
        try:
            yield listen(settings.host, port, unread_seconds=limits.read_seconds)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not a host name"
            raise StartError(f"cannot listen on {settings.host} port {port}: {reason}; set HOST or {name}") from error


async def _check_storage(settings: Settings) -> None:
    """Raise what prevents a start; in production an unavailable database does not."""
    if settings.storage == "memory":
        return
    async with opened_postgres(settings) as storage:
        try:
            await storage.start()
        except StorageUnavailable:
            if not settings.in_production:
                raise
