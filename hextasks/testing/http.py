"""The HTTP API in this process, without a socket: signed tokens and authenticated clients. Needs the `http` extra."""

from datetime import timedelta
from typing import Any, cast
from urllib.parse import quote

import httpx
from dependency_injector import providers

from adapters.tokens import TEST_SECRET, issue_token
from application import ChangeSignal
from entrypoints.container import Container
from entrypoints.http.app import create_app
from entrypoints.settings import Settings
from entrypoints.storage import ReadyStorage
from hextasks import Clock, MemoryTaskRepository, TaskIds, TaskRepository
from hextasks.testing.builders import USER
from hextasks.testing.clock import ManualClock, SequentialIds
from hextasks.testing.transport import InProcessTransport

SECRET = TEST_SECRET
"""The JWT_SECRET of the application in this process. A service that tests start may have it, too; not in production."""


def make_token(user_id: str = USER, *, lifetime: timedelta = timedelta(hours=12), secret: str = SECRET) -> str:
    """Return a signed token of a user, which a service with this secret accepts for so long, in real time.

    It has expired where the lifetime is negative, by more than the 30 seconds by which clocks may differ.
    """
    return issue_token(secret, user_id, lifetime=lifetime)


class InProcessClient(httpx.AsyncClient):
    """An HTTP client that carries a user's token. `await client.get(client.tasks)` returns the user's list.

    Responses are those of the service, event streams included. What a connection checks is not checked: the sizes of a
    head, and whether it is well-formed.
    """

    def __init__(self, app: Any, user_id: str = USER, *, token: str | None = None) -> None:
        """Take an ASGI application that accepts tokens of SECRET, or another token."""
        super().__init__(
            transport=InProcessTransport(app),
            base_url="http://hextasks.test",
            headers={"Authorization": f"Bearer {token or make_token(user_id)}"},
        )
        self.user_id = user_id
        self.tasks = f"/api/{quote(user_id, safe='')}/tasks"
        """The path of the user's tasks."""
        self._app = app

    def of(self, user_id: str) -> "InProcessClient":
        """Return a client of another user."""
        return InProcessClient(self._app, user_id)


class InProcessService:
    """The whole application, on a repository in memory, which starts no server and no background task."""

    def __init__(self, **settings: str) -> None:
        """Make the application. `settings` are named as in the environment, such as `REQUIRE_IF_MATCH="true"`."""
        named = {"DATABASE_URL": "memory://", "JWT_SECRET": SECRET, **settings}
        self._container = Container(settings=Settings.load(named, dotenv=None))
        self._parts = {name: _Current() for name in ("repository", "clock", "ids", "signal")}
        self.use()
        storage = ReadyStorage(cast("TaskRepository", self._parts["repository"]))
        self._container.storage.override(providers.Object(storage))
        for name in ("clock", "ids", "signal"):
            getattr(self._container, name).override(providers.Object(self._parts[name]))
        self.app = create_app(self._container)
        """The ASGI application."""

    def use(
        self, repository: TaskRepository | None = None, clock: Clock | None = None, ids: TaskIds | None = None
    ) -> None:
        """Serve the tasks of another repository from now on, with another clock and ids. Each is new by default."""
        self._parts["repository"].value = repository or MemoryTaskRepository()
        self._parts["clock"].value = clock or ManualClock()
        self._parts["ids"].value = ids or SequentialIds()
        self._parts["signal"].value = ChangeSignal()

    def client(self, user_id: str = USER) -> InProcessClient:
        """Return a client of a user."""
        return InProcessClient(self.app, user_id)


class _Current:
    """Stands for a part that may be replaced. To make the application anew for each test would take 20 ms."""

    value: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)
