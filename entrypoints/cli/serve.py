"""`hextasks serve`: prepares, prints the address, and runs uvicorn, in this process or in several."""

import asyncio
import gc
import logging
import multiprocessing.process
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import uvicorn
from uvicorn.supervisors import Multiprocess

from application import StorageUnavailable
from entrypoints.cli import flush_output
from entrypoints.container import Container
from entrypoints.http.app import create_app, server_limits
from entrypoints.http.server.connection import HttpConnection
from entrypoints.http.server.descriptors import raise_descriptor_limit
from entrypoints.http.server.drain import hangup_signals
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.http.server.listener import listen
from entrypoints.http.server.observers import AccessLog, RequestObserver
from entrypoints.log_writer import LogWriter
from entrypoints.logs import configure_logging
from entrypoints.settings import Settings
from entrypoints.start import StartError, development_token, prepared
from entrypoints.storage import opened_postgres

GC_THRESHOLD = 20_000
"""Objects made and not yet freed, before the youngest are examined for cycles. Python's default is 700."""
STOP_TIMEOUT_SECONDS = 15
"""How long requests may go on after the port was closed, which is at most DRAIN_SECONDS after SIGTERM: together less
than the 30 seconds after which Kubernetes kills."""


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit status.

    Raises StartError and StorageUnavailable before the first request, never after.
    """
    writer = configure_logging(settings.log_level)
    for number in (signal.SIGTERM, signal.SIGINT, *hangup_signals()):
        signal.signal(number, _stop)
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in _listening(settings)]
        ready = stack.enter_context(prepared(settings))
        asyncio.run(_check_storage(ready))
        ports = [listener.getsockname()[1] for listener in listeners]
        _announce(settings, ready, *ports)
        ready = msgspec.structs.replace(ready, admin_port=ports[1] if len(ports) > 1 else None)
        if ready.web_concurrency == 1:
            server = uvicorn.Server(server_config(_create_app(ready, writer)))
            server.run(sockets=listeners)
            return 0 if server.started else 1
        os.environ |= {"DATABASE_URL": ready.database_url or "", "JWT_SECRET": ready.jwt_secret or ""}
        os.environ["ADMIN_PORT"] = str(ready.admin_port or "")
        factory = f"{create_worker_app.__module__}:{create_worker_app.__qualname__}"
        config = server_config(factory, ready.web_concurrency)
        supervisor = _Supervisor(config, listeners)
        supervisor.run()
        return int(any((process.exitcode or 0) > 0 for process in supervisor.processes))


def _stop(*_: object) -> None:
    """Terminate the process gracefully.

    While uvicorn serves, it receives the signal, and raises it again when the last request is answered.
    """
    sys.exit(0)


def observers(writer: LogWriter) -> tuple[RequestObserver, ...]:
    """Return the observers of all requests: the access log, if the log level includes it."""
    return (AccessLog(writer.write),) if logging.getLogger("hextasks.request").isEnabledFor(logging.INFO) else ()


class _Config(uvicorn.Config):
    def configure_logging(self) -> None:
        """Prepare a worker process; uvicorn calls this before anything else in it."""
        super().configure_logging()
        if parent := multiprocessing.parent_process():
            # uvicorn raises the signal once more at the end, which would kill the process before its log is written.
            signal.signal(signal.SIGTERM, _stop)
            threading.Thread(target=_end_with, args=[parent], daemon=True).start()


class _Supervisor(Multiprocess):
    """The parent of several server processes."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        """Handle signals, except those that stay ignored."""
        handled = hangup_signals()
        super().__init__(config, sockets)
        if not handled:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def handle_hup(self) -> None:
        """Stop, as a single process does, rather than restart the server processes."""
        self.handle_term()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Terminate when the process that started this one is killed, because this one would keep the port."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def create_worker_app() -> ExchangeLayer:
    """Make the application of one worker process, from an environment that names database and token key."""
    settings = Settings.load()
    return _create_app(settings, configure_logging(settings.log_level))


def _create_app(settings: Settings, writer: LogWriter) -> ExchangeLayer:
    """Make the application of this process, and exempt it and all modules from garbage collection.

    A full collection of them stops the event loop for 50 to 200 ms every few thousand requests. A request leaves no
    cyclic garbage, so that a higher threshold lets most of its objects be freed before a collection examines them.
    """
    raise_descriptor_limit()
    app = create_app(Container(settings=settings), observers=observers(writer))
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    return app


def server_config(app: object, workers: int = 1) -> uvicorn.Config:
    """Return how uvicorn runs the application."""
    return _Config(
        app,  # type: ignore[arg-type]
        factory=isinstance(app, str),
        workers=workers,
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


def _announce(given: Settings, ready: Settings, port: int, admin_port: int | None = None) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(given.host, given.host)  # noqa: S104
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    where = given.storage if given.storage != "embedded" else f"an embedded PostgreSQL in {given.data_dir / 'postgres'}"
    admin = f", for health probes on port {admin_port}" if admin_port else ""
    lines = [f"hextasks listens on {address}{admin}, with {where}", f"  docs   {address}/docs"]
    token = development_token(ready, "ada") if not given.in_production and given.key_source == "secret" else ""
    if given.page_path:
        # A browser sends no fragment to the server, so that the token is in no log.
        lines.append(f"  page   {address}{given.page_path}" + (f"#token={token}" if token else ""))
    if token:
        body = """-H 'Content-Type: application/json' -d '{"title": "Buy milk"}'"""
        lines.append(f"  try    curl -H 'Authorization: Bearer {token}' {body} {address}/api/ada/tasks")
    print("\n".join(lines))
    flush_output()
