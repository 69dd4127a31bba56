"""What must not help anybody to another user's tasks, where the API is in an application of somebody else's."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, Response
from litestar.exceptions import ValidationException

from adapters.tokens import issue_token
from hextasks import MemoryTaskRepository, NotOwner, SystemClock, Tasks, Uuid7Ids
from hextasks.litestar import TasksPlugin, create_app
from hextasks.testing.transport import InProcessTransport
from tests.http.wire import assert_problem


def client(app: Litestar) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=InProcessTransport(app), base_url="http://theirs")


def ours(user: object, **options: Any) -> Litestar:
    """Return an application in which every request is this user's."""

    def user_of(_: Request[Any, Any, Any]) -> Any:
        if isinstance(user, Exception):
            raise user
        return user

    tasks = Tasks.on(MemoryTaskRepository(), clock=SystemClock(), ids=Uuid7Ids())
    return Litestar(plugins=[TasksPlugin(tasks, user_of=user_of)], logging_config=None, **options)


@pytest.mark.parametrize("user", ["", None, 0, b"ada", ["ada"], "a\n", "\ud800", "x" * 256, RuntimeError("theirs")])
async def test_who_is_no_user_is_rejected(user: object) -> None:
    async with client(ours(user)) as someone:
        for path in ("ada", "", "None", "0", "%00", "%0A", "x" * 256):
            response = await someone.get(f"/api/{path}/tasks")
            assert response.status_code in (400, 403, 404, 500), path
            assert "tasks" not in response.json()


@pytest.mark.parametrize("path", ["bob", "ADA", "ad%C3%A1", "ada%00", "%20ada", "bob%2F..%2Fada", "ada%252F"])
async def test_no_spelling_of_a_path_is_that_of_another_user(path: str) -> None:
    async with client(ours("ada")) as ada:
        for end in ("", "/changes", "/events", "/019a209e-a9ce-7420-a3e2-748002020c5e"):
            assert (await ada.get(f"/api/{path}/tasks{end}")).status_code in (403, 404)


@pytest.mark.parametrize(("error", "status"), [(ValidationException("theirs"), 400), (NotOwner(), 403)])
async def test_a_middleware_of_theirs_may_raise_what_the_api_raises(error: Exception, status: int) -> None:
    def middleware(app: Any) -> Any:
        async def refuse(scope: Any, receive: Any, send: Any) -> None:
            raise error

        return refuse

    async with client(ours("ada", middleware=[middleware])) as ada:
        response = await ada.get("/api/ada/tasks")
    assert (response.status_code, response.json()["instance"]) == (status, "/api/ada/tasks")


async def test_what_they_ask_before_each_request_they_ask_before_ours() -> None:
    def before_request(request: Request[Any, Any, Any]) -> Response[str] | None:
        return None if "x-key" in request.headers else Response("no key", status_code=402)

    async with client(ours("ada", before_request=before_request)) as ada:
        for user, status in (("ada", 200), ("bob", 403)):
            assert (await ada.get(f"/api/{user}/tasks")).status_code == 402
            assert (await ada.get(f"/api/{user}/tasks", headers={"X-Key": "k"})).status_code == status


async def test_events_go_on_in_an_application_that_is_started_again() -> None:
    app = ours("ada")
    async with client(app) as ada:
        for _ in range(2):
            async with app.lifespan(), ada.stream("GET", "/api/ada/tasks/events") as stream:
                parts = stream.aiter_text()
                assert "event: ready" in await anext(parts)
                await ada.post("/api/ada/tasks", json={"title": "Buy milk"})
                assert "Buy milk" in await anext(parts)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}])
async def test_what_a_foreign_page_may_send_without_asking_writes_nothing(headers: dict[str, str]) -> None:
    """Their users may be known by a cookie, which a browser adds to such requests, too."""
    async with client(ours("ada")) as ada:
        for end in ("", "/batch"):
            sent = await ada.post(f"/api/ada/tasks{end}", content=b'{"title": "Buy milk"}', headers=headers)
            assert_problem(sent, "unsupported_media_type")


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Undo what a Litestar application sets for the log of the whole process."""
    level, handlers = logging.root.level, [*logging.root.handlers]
    yield
    logging.root.setLevel(level)
    logging.root.handlers = handlers


@pytest.mark.usefixtures("root_logger")
async def test_an_application_that_was_not_started_accepts_no_token_and_loads_no_scripts_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DATABASE_URL", "JWT_SECRET"):
        monkeypatch.setenv(name, "")
    async with client(create_app()) as anybody:
        token = issue_token("unused" * 6, "ada")
        response = await anybody.get("/api/ada/tasks", headers={"Authorization": f"Bearer {token}"})
        assert_problem(response, "token_invalid")
        assert (await anybody.get("/schema")).json()["paths"]
