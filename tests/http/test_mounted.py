"""TasksPlugin within an application of somebody else's, served by plain uvicorn."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote, unquote

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar, Request, Response, get
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from openapi_spec_validator import validate

from adapters.tokens import issue_token
from entrypoints import purging
from hextasks import MemoryTaskRepository, SystemClock, Tasks, Uuid7Ids
from hextasks.litestar import Settings, TasksPlugin
from tests.http.wire import assert_problem
from tests.patience import eventually
from tests.services import SECRET
from tests.wires import free_port

KEY = SecurityScheme("apiKey", name="X-Key", security_scheme_in="header")
BUY_MILK = {"title": "Buy milk"}


@get("/hello")
async def hello() -> str:
    return "hello"


@get("/fault")
async def fault() -> str:
    raise RuntimeError("theirs")


def needs_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if "x-key" not in connection.headers:
        raise NotAuthorizedException("no key")


def answer_theirs(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    return Response({"theirs": str(error)}, status_code=getattr(error, "status_code", 500))


def user_of(request: Request[Any, Any, Any]) -> str:
    if "x-user" not in request.headers:
        raise NotAuthorizedException("nobody")
    return unquote(request.headers["x-user"])


def host(plugin: TasksPlugin) -> Litestar:
    return Litestar(
        [hello, fault],
        plugins=[plugin],
        guards=[needs_key],
        exception_handlers={NotAuthorizedException: answer_theirs, Exception: answer_theirs},
        cors_config=CORSConfig(allow_origins=["https://app.example.com"]),
        openapi_config=OpenAPIConfig("theirs", "7", components=Components(security_schemes={"key": KEY})),
        logging_config=None,
    )


@contextmanager
def served(app: Litestar) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="on", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "it did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def tasks() -> Tasks:
    return Tasks.on(MemoryTaskRepository(), clock=SystemClock(), ids=Uuid7Ids())


@pytest.fixture(scope="module")
def app(tasks: Tasks) -> Litestar:
    return host(TasksPlugin(tasks, user_of=user_of, path="/v1/todo/"))


@pytest.fixture(scope="module")
def ada(app: Litestar) -> Iterator[httpx.Client]:
    headers = {"X-Key": "k", "X-User": "ada", "Origin": "https://app.example.com"}
    with served(app) as url, httpx.Client(base_url=url, headers=headers, verify=False) as client:
        yield client


ADAS = "/v1/todo/ada/tasks"


def test_the_stories_under_a_path_of_theirs(ada: httpx.Client, tasks: Tasks) -> None:
    created = ada.post(ADAS, json=BUY_MILK, headers={"Idempotency-Key": "k"})
    assert created.status_code == 201
    place = created.headers["location"]
    assert place == f"{ADAS}/{created.json()['id']}"
    assert ada.post(ADAS, json=BUY_MILK, headers={"Idempotency-Key": "k"}).headers["idempotency-replayed"] == "true"
    tag = ada.get(place).headers["etag"]
    assert ada.get(place, headers={"If-None-Match": tag}).status_code == 304
    assert ada.patch(f"{place}/complete", headers={"If-Match": tag}).json()["is_completed"]
    assert ada.put(place, json={"title": "Buy tea"}).json()["title"] == "Buy tea"
    assert [task.title for task in asyncio.run(tasks.of("ada").list()).tasks] == ["Buy tea"]
    ada.post(f"{ADAS}/batch", json={"operations": [{"op": "create", **BUY_MILK}]})
    listed = ada.get(ADAS, params={"limit": 1})
    assert f"<{ADAS}?limit=1&cursor=" in listed.headers["link"]
    assert ada.get(listed.headers["link"].partition(">")[0][1:]).json()["tasks"] == [ada.get(place).json()]
    assert len(ada.get(f"{ADAS}/changes").json()["changes"]) == 2
    removed = ada.delete(place)
    assert removed.status_code == 204
    assert removed.headers["sync-token"]
    assert "GET" in ada.options(place, headers={"Origin": ""}).headers["allow"]


def test_errors_of_the_api_are_problems(ada: httpx.Client) -> None:
    assert_problem(ada.get(f"{ADAS}/0"), "task_not_found")
    assert_problem(ada.get("/v1/todo/grace/tasks"), "forbidden")
    assert_problem(ada.get(ADAS, params={"limit": 0}), "validation_error", ("parameter", "limit", "limit_out_of_range"))
    assert_problem(ada.post(ADAS, json={"title": ""}), "validation_error", ("pointer", "/title", "title_empty"))
    no_body = ada.post(ADAS, headers={"Content-Type": "application/json"})
    assert_problem(no_body, "validation_error", ("pointer", "", "missing_body"))
    assert_problem(ada.post(ADAS, json={"title": "x" * 70_000}), "body_too_large")
    assert ada.get(f"{ADAS}/0", headers={"X-Request-ID": "mine"}).json()["request_id"] == "mine"


def test_all_other_errors_are_theirs(ada: httpx.Client) -> None:
    assert ada.get("/hello", headers={"X-Key": ""}).text == "hello"
    for path in ("/hello", ADAS):
        keyless = httpx.get(f"{ada.base_url}{path}", headers={"X-User": "ada"}, verify=False)
        assert (keyless.status_code, keyless.json()) == (401, {"theirs": "401: no key"})
    nobody = httpx.get(f"{ada.base_url}{ADAS}", headers={"X-Key": "k"}, verify=False)
    assert (nobody.status_code, nobody.json()) == (401, {"theirs": "401: nobody"})
    assert ada.get("/fault").json() == {"theirs": "theirs"}
    assert "theirs" in ada.get("/v1/todo/ada").json()
    assert "x-request-id" not in ada.get("/hello").headers


def test_their_cors_applies(ada: httpx.Client) -> None:
    for path in ("/hello", ADAS, f"{ADAS}/0"):
        assert ada.get(path).headers["access-control-allow-origin"] == "https://app.example.com"


@pytest.mark.parametrize("user", ["auth0|42", "50%41", "% 1", "Zoë", "%2F", "x" * 255])
def test_any_user_id_without_a_slash(ada: httpx.Client, user: str) -> None:
    sent = quote(user, safe="")
    created = ada.post(f"/v1/todo/{sent}/tasks", json=BUY_MILK, headers={"X-User": sent})
    assert created.json()["user_id"] == user, created.text
    assert ada.get(created.headers["location"], headers={"X-User": sent}).json() == created.json()


def test_events_arrive(ada: httpx.Client, app: Litestar) -> None:
    with ada.stream("GET", f"{ADAS}/events") as stream:
        lines = stream.iter_lines()
        assert "event: ready" in [next(lines) for _ in range(4)]
        created = ada.post(ADAS, json=BUY_MILK).json()
        (data,) = [line for line in (next(lines) for _ in range(5)) if line.startswith('data: {"op')]
        assert json.loads(data.removeprefix("data: "))["task"] == created


def test_a_document_of_theirs_describes_the_api(app: Litestar) -> None:
    document = json.loads(msgspec.json.encode(app.openapi_schema.to_schema()))
    validate(document)
    create = document["paths"]["/v1/todo/{user_id}/tasks"]["post"]
    assert "Idempotency-Key" in {parameter["name"] for parameter in create["parameters"]}
    assert create["responses"].keys() >= {"201", "400", "409"}
    assert "security" not in create
    assert document["components"]["securitySchemes"].keys() == {"key"}


class TestTokens:
    @pytest.fixture
    def url(self) -> Iterator[str]:
        settings = Settings.load(
            {
                "DATABASE_URL": "memory://",
                "JWT_SECRET": SECRET,
                "RATE_LIMIT_BURST": "5",
                "MAX_STREAMS_PER_USER": "1",
                "RATE_LIMIT_PER_SECOND": "0.001",
            },
            dotenv=None,
        )
        with served(Litestar(plugins=[TasksPlugin(settings)], logging_config=None)) as url:
            yield url

    def test_users_are_those_of_the_tokens_and_limited(self, url: str) -> None:
        token = {"Authorization": f"Bearer {issue_token(SECRET, 'ada')}"}
        path = f"{url}/api/ada/tasks"
        assert_problem(httpx.get(path, verify=False), "token_missing")
        with httpx.stream("GET", f"{path}/events", headers=token, verify=False) as stream:
            assert stream.status_code == 200
            assert_problem(httpx.get(f"{path}/events", headers=token, verify=False), "rate_limited")
        created = httpx.post(path, json=BUY_MILK, headers=token, verify=False)
        assert created.headers["ratelimit"].startswith('"user";r=2')
        for _ in range(3):
            limited = httpx.get(path, headers=token, verify=False)
        assert_problem(limited, "rate_limited")

    def test_the_document_names_the_scheme(self) -> None:
        plugin = TasksPlugin(Settings(database_url="memory://", jwt_secret=SECRET))
        config = OpenAPIConfig("theirs", "7")
        document = Litestar(plugins=[plugin], openapi_config=config, logging_config=None).openapi_schema.to_schema()
        assert document["components"]["securitySchemes"].keys() == {"bearer"}
        assert document["paths"]["/api/{user_id}/tasks"]["get"]["security"] == [{"bearer": []}]


def test_the_storage_is_purged(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "INTERVAL_SECONDS", 0.01)
    purged = []

    async def purge() -> int:
        purged.append(True)
        return 0

    noting: Any = replace(tasks, purge=cast("Any", purge))
    with served(Litestar(plugins=[TasksPlugin(noting, user_of=user_of)], logging_config=None)):
        eventually(lambda: bool(purged))


def test_a_user_that_is_no_text_is_an_error_of_theirs(tasks: Tasks) -> None:
    with served(host(TasksPlugin(tasks, user_of=cast("Any", lambda _: 7)))) as url:
        answer = httpx.get(f"{url}/api/5/tasks", headers={"X-Key": "k"}, verify=False)
    assert (answer.status_code, answer.json()) == (500, {"theirs": "user_of has to return a str, not int"})


def test_what_is_missing_is_named_at_once(tasks: Tasks) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL"):
        TasksPlugin(Settings(jwt_secret=SECRET))
    for source in (tasks, Settings(database_url="memory://")):
        with pytest.raises(ValueError, match="user_of"):
            TasksPlugin(source)
