"""Responses to internal errors and to an unavailable database: accurate, and without internals."""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from adapters.postgres import migrate
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.migration_watch import LOCK_KEY
from application import StorageUnavailable, VersionConflict
from entrypoints.log_writer import encode_json
from entrypoints.logs import fields_of
from tests.databases import Server, patient
from tests.http.wire import JSON, Json, assert_problem, bearer, listed, made, one, raw
from tests.patience import eventually
from tests.services import Client, Service, running_service
from tests.sql import fetch

TRACE = "0af7651916cd43dd8448eb211c80319c"
INTERNALS = "internals: SELECT password FROM vault"
CALLS = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/{id}"),
    ("PUT", "/{id}"),
    ("PATCH", "/{id}/complete"),
    ("DELETE", "/{id}"),
]
CUT = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1"
each_call = pytest.mark.parametrize(("method", "end"), CALLS)


@pytest.fixture(scope="module")
def fragile() -> Iterator[Service]:
    """A service for this test, whose repository it may break."""
    with running_service(DATABASE_URL="memory://", CORS_ORIGINS="https://app.example.com") as service:
        yield service


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**connect_arguments(server.url))
    yield connection
    await connection.close()


def call(service: Service, client: Client, method: str, end: str, task: Json) -> httpx.Response:
    body = b'{"title": "changed"}' if method in ("POST", "PUT") else None
    headers = [bearer(client), ("Origin", "https://app.example.com"), *JSON.items()]
    headers.append(("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
    return raw(service, method, client.tasks + end.format(id=task["id"]), headers, body)


def break_repository(service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception, *methods: str) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    repository = service.container.storage().tasks
    for method in methods or ("add", "get", "list", "save", "remove"):
        monkeypatch.setattr(repository, method, fail)


class TestInside:
    @each_call
    @pytest.mark.parametrize("error", [RuntimeError(INTERNALS), OSError(5, INTERNALS)])
    def test_an_unexpected_error_discloses_nothing(
        self,
        fragile: Service,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        error: Exception,
        method: str,
        end: str,
    ) -> None:
        with fragile.client() as client:
            task = made(client)
            break_repository(fragile, monkeypatch, error)
            answer = call(fragile, client, method, end, task)
        assert_problem(answer, "internal_error")
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
        for word in ("SELECT", type(error).__name__, "Traceback", ".py", "repository"):
            assert word.lower() not in answer.text.lower()
        (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
        line = encode_json(fields_of(record)).decode()
        assert type(error).__name__ in line
        assert answer.headers["x-request-id"] in line
        assert f'"trace_id":"{TRACE}"' in line
        assert "SELECT" not in line

    @pytest.mark.parametrize(
        ("error", "code", "methods"),
        [(StorageUnavailable(), "storage_unavailable", ()), (VersionConflict(), "overloaded", ("save",))],
    )
    def test_a_temporary_error_has_retry_after(
        self,
        fragile: Service,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        code: str,
        methods: tuple[str, ...],
    ) -> None:
        with fragile.client() as client:
            task = made(client)
            break_repository(fragile, monkeypatch, error, *methods)
            answer = call(fragile, client, "PATCH", "/{id}/complete", task)
            assert_problem(answer, code)
            assert int(answer.headers["retry-after"]) >= 1
            monkeypatch.undo()
            assert listed(client) == [task]


@asynccontextmanager
async def unavailable(admin: asyncpg.Connection, url: str) -> AsyncIterator[str]:
    """Terminate all connections to a database, and rename it for the duration of the block; yields its URL then."""
    name = urlsplit(url).path[1:]
    await admin.execute(CUT, name)
    await admin.execute(f"ALTER DATABASE {name} RENAME TO {name}_renamed")
    try:
        yield urlsplit(url)._replace(path=f"/{name}_renamed").geturl()
    finally:
        await admin.execute(f"ALTER DATABASE {name}_renamed RENAME TO {name}")


@pytest.mark.database
async def test_a_database_that_becomes_unavailable_and_available_again(
    admin: asyncpg.Connection, server: Server
) -> None:
    url = await server.new_database()
    name = urlsplit(url).path[1:]
    with running_service(DATABASE_URL=url) as service, service.client() as client:
        task = made(client)
        assert client.get("/health/ready").status_code == 200
        await admin.execute(CUT, name)
        assert listed(client) == [task], "a terminated connection was used"
        async with unavailable(admin, url):
            for method, end in CALLS:
                answer = call(service, client, method, end, task)
                assert_problem(answer, "storage_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
                assert name not in answer.text
            ready = client.get("/health/ready")
            assert_problem(ready, "storage_unavailable")
            assert int(ready.headers["retry-after"]) >= 1
            assert client.get("/health/live").status_code == 200
            assert_problem(client.get("/api/somebody/tasks"), "forbidden")
            assert client.get("/docs").status_code == 200
        assert client.get("/health/ready").status_code == 200
        assert client.get(one(client, task)).json() == task


@pytest.mark.database
@pytest.mark.parametrize("environment", ["production", "development"])
async def test_a_service_that_started_without_its_database_checks_it_before_it_is_ready(
    admin: asyncpg.Connection, server: Server, environment: str
) -> None:
    url = await server.new_database()
    async with AsyncExitStack() as meanwhile:
        await meanwhile.enter_async_context(unavailable(admin, url))
        with running_service(DATABASE_URL=url, ENVIRONMENT=environment) as service, service.client() as client:
            assert_problem(client.get("/health/ready"), "storage_unavailable")
            assert client.get("/health/live").status_code == 200
            await meanwhile.aclose()
            if environment == "production":  # in development it migrates by itself
                assert_problem(client.get("/health/ready"), "storage_unavailable")
                assert_problem(client.get(client.tasks), "storage_unavailable")
                async with unavailable(admin, url) as hidden:  # or the service could see it before the update
                    database = patient(hidden)
                    await migrate(database)
                    await fetch(database, "UPDATE hextasks_version SET version_num = '-' || version_num")  # older
                    await database.close()
                assert_problem(client.post(client.tasks, json={"title": "too early"}), "storage_unavailable")
                database = patient(url)
                await fetch(database, "UPDATE hextasks_version SET version_num = replace(version_num, '-', '')")
                await database.close()
            assert made(client)["version"] == 1
            assert client.get("/health/ready").status_code == 200


@pytest.mark.database
async def test_readiness_has_a_time_limit_of_its_own_whatever_it_waits_for(
    admin: asyncpg.Connection, server: Server
) -> None:
    """Here for another process's migration, for which a first check may wait a minute."""
    url = await server.new_database()
    async with AsyncExitStack() as meanwhile:
        await meanwhile.enter_async_context(unavailable(admin, url))
        with running_service(DATABASE_URL=url, DATABASE_TIMEOUT="0.5") as service, service.client() as client:
            await meanwhile.aclose()
            migrating = await asyncpg.connect(**connect_arguments(url))
            async with migrating.transaction():
                await migrating.execute(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")
                began = time.monotonic()
                assert_problem(client.get("/health/ready"), "storage_unavailable")
                assert time.monotonic() - began < 5
            await migrating.close()
            eventually(lambda: client.get("/health/ready").status_code == 200)
