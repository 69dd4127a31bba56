"""The service as its clients use it: on a socket, with tokens."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import httpx
import uvicorn

from adapters.tokens import issue_token
from entrypoints.cli.serve import server_config
from entrypoints.container import Container
from entrypoints.http.app import create_app
from entrypoints.http.limits import server_limits
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.http.server.listener import listen
from entrypoints.http.server.observers import AccessLog
from entrypoints.log_writer import encode_json
from entrypoints.metrics.service import ServiceMetrics
from entrypoints.settings import Settings
from entrypoints.traces import open_traces
from tests.patience import GENEROUS, REQUEST_TIMEOUT_SECONDS

SECRET = "a secret for tests that is long enough"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service."""

    url: str
    container: Container
    app: ExchangeLayer
    access_lines: list[Callable[[bytes], None]] = field(default_factory=list)
    """Those to whom the access log is written."""

    def client(self, user: str | None = None, token: str | None = None) -> "Client":
        """Return a client for a user, by default a new one."""
        user = user or f"user-{uuid4()}"
        return Client(self.url, user, token or issue_token(SECRET, user))


class Client(httpx.Client):
    """An HTTP client that carries a user's token; `tasks` is where the user's tasks are."""

    def __init__(self, url: str, user: str, token: str) -> None:
        super().__init__(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=REQUEST_TIMEOUT_SECONDS, verify=False
        )  # no TLS here, and loading its roots takes a while
        self.user = user
        self.tasks = f"/api/{user}/tasks"


def fill(client: Client, count: int, title: str = "task") -> None:
    """Create tasks."""
    while count:
        operations = [{"op": "create", "title": f"{title} {n}"} for n in range(min(count, 100))]
        assert client.post(f"{client.tasks}/batch", json={"operations": operations}).status_code == 200
        count -= len(operations)


@contextmanager
def running_service(
    limits: Mapping[str, Any] = MappingProxyType({}), *, is_measured: bool = True, **environment: str
) -> Iterator[Service]:
    """Run the service in a thread of this process, on a free port, until the end of the block.

    `limits` are fields of ServerLimits that differ from those of the settings. Unless `is_measured`, the coverage of
    its code is not measured, which takes half of the time.
    """
    settings = Settings.load({"JWT_SECRET": SECRET, **GENEROUS, **environment}, dotenv=None)
    metrics = ServiceMetrics() if settings.has_metrics else None
    traces, statement_observers = open_traces(has_statements=settings.storage != "memory")
    if metrics:
        statement_observers = (metrics.statements, *statement_observers)
    container = Container(settings=settings, statement_observers=statement_observers)
    readers: list[Callable[[bytes], None]] = []

    def write(line: bytes) -> None:
        for reader in readers:
            reader(line)

    app = create_app(
        container,
        observers=(AccessLog(write, encode_json),),
        metrics=metrics,
        traces=traces,
        limits=replace(server_limits(settings), **limits),
    )
    server = uvicorn.Server(server_config(app))
    with ExitStack() as stack:
        ports = [0] if settings.admin_port is None else [0, settings.admin_port]
        listeners = [
            stack.enter_context(listen("127.0.0.1", port, unread_seconds=app.limits.read_seconds)) for port in ports
        ]
        thread = threading.Thread(target=server.run, kwargs={"sockets": listeners})
        measure = threading.gettrace()
        if not is_measured:
            threading.settrace(None)
        try:
            thread.start()
        finally:
            threading.settrace(measure)
        try:
            while not server.started:
                assert thread.is_alive(), "the service did not start"
                time.sleep(0.01)
            url = f"http://127.0.0.1:{listeners[0].getsockname()[1]}"
            yield Service(url=url, container=container, app=app, access_lines=readers)
        finally:
            server.should_exit = True
            thread.join()
