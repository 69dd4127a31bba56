"""Every statement that the running service sends to PostgreSQL is restricted to one user's rows."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from adapters.postgres import Database, migrate
from adapters.postgres.apply_statement import APPLY
from adapters.postgres.statements import ADD, CHANGES, GET, RECALL, REMOVE, SAVE, STATES
from tests.databases import Server, patient
from tests.http.wire import made, one
from tests.services import Client, Service, running_service
from tests.statements import PAGES, SHARED, statements
from tests.tenancy import OWNED, judge

pytestmark = pytest.mark.database

SYNC = [APPLY, RECALL, CHANGES, STATES]
REPOSITORY = [ADD, GET, SHARED.get, REMOVE, SAVE, *SYNC, *PAGES]
# What the start-up check reads beside its own settings, what the driver reads of array types, and what has no plan
# because it touches no table.
CATALOGUE = {"hextasks_version", "pg_class", "pg_namespace", "pg_attribute", "pg_range", "pg_type"}
COMMANDS = {"BEGIN", "COMMIT", "ROLLBACK", "SHOW"}
FILTERS: list[dict[str, str]] = [{}, {"completed": "true"}, {"completed": "false"}]
Sent = dict[str, tuple[Any, ...]]


@contextmanager
def captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """Collect every statement on every connection that a pool opens, each once with its first arguments."""
    sent = Sent()
    connect, prepare = Database.connect, asyncpg.Connection.prepare

    async def listening(database: Database) -> asyncpg.Connection:
        connection = await connect(database)
        connection.add_query_logger(lambda query: sent.setdefault(query.query, tuple(query.args)))
        return connection

    async def noting(connection: asyncpg.Connection, sql: str, **options: Any) -> Any:
        """Record what SQLAlchemy, and so Alembic, prepares, which the driver's query logger does not report."""
        prepared = await prepare(connection, sql, **options)
        sent.setdefault(sql, (None,) * len(prepared.get_parameters()))
        return prepared

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "prepare", noting)
        patch.setattr(Database, "connect", listening)
        yield sent


def call_everything(service: Service, me: Client, stranger: Client) -> None:
    """Make all the calls, in all their branches."""
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert me.get(path).status_code == 200
    tasks = [made(me, f"task {n}") for n in range(6)]
    paths = [one(me, task) for task in tasks]
    missing = [f"{me.tasks}/{uuid4()}", f"{me.tasks}/none"]
    stale, right = {"If-Match": '"1"'}, {"If-Match": '"2"'}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", me.tasks, {"json": {"title": ""}}),
        *(("GET", path, {}) for path in (paths[0], *missing)),
        ("GET", paths[0], {"headers": {"If-None-Match": "*"}}),
        *(("PUT", path, {"json": {"title": "changed"}, "headers": stale}) for path in (paths[1], *missing)),
        ("PUT", paths[1], {"json": {"title": "changed"}, "headers": right}),
        ("PUT", paths[1], {"json": {"title": "changed"}}),
        ("PUT", paths[1], {"json": {"title": "again", "is_completed": True}}),
        ("PUT", paths[1], {"json": {"is_completed": False}}),
        *(("PATCH", f"{path}/complete", {}) for path in (*paths[1:4], paths[1], *missing)),
        ("PATCH", f"{paths[4]}/complete", {"headers": stale}),
        *(("DELETE", path, {"headers": stale}) for path in (paths[1], *missing)),
        *(("DELETE", path, {}) for path in (paths[1], paths[1], *missing)),
    ]
    key = {"Idempotency-Key": "k"}
    operations = [{"op": "delete", "id": tasks[4]["id"]}, {"op": "create", "title": "task"}]
    calls += [
        ("POST", me.tasks, {"json": {"title": "x", "id": tasks[0]["id"]}}),
        *[("PUT", paths[0], {"json": {"title": "task", "is_completed": True}, "headers": key})] * 2,
        ("PATCH", f"{paths[0]}/complete", {"headers": key}),
        *[("POST", f"{me.tasks}/batch", {"json": {"operations": operations}})] * 2,
        ("GET", f"{me.tasks}/changes", {}),
        ("GET", f"{me.tasks}/changes", {"params": {"since": "000000000001-1"}}),
    ]
    statuses = [me.request(method, path, **more).status_code for method, path, more in calls]
    assert set(statuses) == {200, 204, 304, 400, 404, 409, 410, 412, 422}
    for query in [{**search, **filter_} for search in ({}, {"q": "TASK"}) for filter_ in FILTERS]:
        page = me.get(me.tasks, params={"limit": 1, **query}).json()
        cursor = {"cursor": page["next_cursor"], **query}
        assert me.get(me.tasks, params=cursor).json()["tasks"]
    with ThreadPoolExecutor(8) as threads:  # all but one conflict, and retry
        titles = [f"title {n}" for n in range(8)]
        answers = threads.map(lambda title: me.put(paths[5], json={"title": title}), titles)
        assert {answer.status_code for answer in answers} == {200}
    with me.stream("GET", f"{me.tasks}/events") as events:
        assert next(events.iter_lines())
    calls += [("GET", f"{me.tasks}/events", {})]
    for method, path, more in calls:
        assert stranger.request(method, path, **more).status_code == 403
    assert me.get(paths[5]).status_code == 200


@pytest.mark.parametrize("mode", ["off", "user"])
async def test_each_is_restricted_to_its_user_in_every_table(
    server: Server, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    url = await server.new_database()
    database = patient(url)
    await migrate(database)
    user, stranger = f"user {uuid4()}", f"stranger {uuid4()}"
    with (
        captured(monkeypatch) as sent,
        running_service(DATABASE_URL=url, ENVIRONMENT="production", DATABASE_COALESCING=mode) as service,
        service.client(user) as me,
        service.client(stranger) as other,
    ):
        await asyncio.to_thread(call_everything, service, me, other)
    assert sent.keys() >= {statement.sql for statement in REPOSITORY}, "a branch was not executed"
    seen, known = set(), statements()
    async with database.connection() as connection:
        for sql, arguments in sent.items():
            assert stranger not in arguments
            try:
                verdict = await judge(connection, sql, arguments, user)
            except asyncpg.PostgresSyntaxError:
                assert sql.rstrip(";").upper().split()[0] in COMMANDS, sql
                assert ";" not in sql.rstrip(";")
                continue
            assert verdict.wrongs == [], sql
            assert verdict.tables <= OWNED.keys() | CATALOGUE, sql
            assert verdict.tables <= CATALOGUE or sql in known, "tests/adapters/test_postgres_shards.py does not see it"
            seen |= verdict.tables
    assert seen >= OWNED.keys()
    await database.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM tasks WHERE id = $2 AND user_id = $1",
        "SELECT * FROM tasks AS t WHERE t.user_id = $1 AND (t.id = $2 OR t.title = ') OR (')",
        "SELECT * FROM tasks JOIN task_counters USING (user_id) WHERE user_id = $1 AND id = $2",
        "DELETE FROM task_tombstones WHERE user_id = $1 AND task_id = $2",
        "SELECT * FROM task_counters WHERE user_id = ANY ($3::text[]) AND $1 <> $2::uuid::text",
        "INSERT INTO task_tombstones SELECT $1, $2, value, now() FROM task_counters WHERE user_id = $1",
    ],
)
async def test_a_statement_restricted_to_the_user_is_accepted(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        assert (await judge(connection, sql, ("ada", uuid4(), ["ada"]), "ada")).wrongs == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM tasks",
        "SELECT * FROM tasks WHERE title = $1 AND id = $2",
        "SELECT * FROM tasks WHERE user_id = 'ada' AND id = $2 AND title = $1",
        "SELECT * FROM tasks WHERE user_id = $1 OR id = $2",
        "SELECT * FROM tasks WHERE NOT (user_id = $1 AND id = $2)",
        "SELECT * FROM tasks WHERE user_id <= $1 AND id = $2",
        "SELECT * FROM tasks WHERE user_id = ANY ($3::text[]) AND $1 <> $2::uuid::text",
        "SELECT * FROM tasks WHERE user_id LIKE $1 AND id = $2",
        "SELECT * FROM tasks WHERE lower(user_id) = $1 AND id = $2",
        "SELECT * FROM tasks WHERE user_id = $2::text AND title = $1",
        "SELECT * FROM tasks WHERE user_id = coalesce($1, user_id) AND id = $2",
        "SELECT * FROM tasks WHERE user_id = (SELECT max(user_id) FROM task_tombstones WHERE user_id = $1) AND id = $2",
        "SELECT * FROM task_counters WHERE user_id = $1 AND EXISTS (SELECT FROM tasks WHERE id = $2)",
        "SELECT * FROM tasks t LEFT JOIN tasks o ON o.user_id = $1 AND o.id = $2",
        "UPDATE tasks SET title = 'x' WHERE id = $2 AND version > (SELECT value FROM task_counters WHERE user_id = $1)",
        "DELETE FROM tasks USING task_counters AS c WHERE c.user_id = $1 AND tasks.id = $2",
        "INSERT INTO task_counters VALUES ('grace', char_length($1) + char_length($2::uuid::text))",
        "INSERT INTO task_tombstones SELECT user_id, $2, 1, now() FROM tasks WHERE title = $1",
        "WITH gone AS (DELETE FROM tasks WHERE id = $2) SELECT * FROM task_counters WHERE user_id = $1",
        "MERGE INTO tasks USING task_counters AS c ON tasks.user_id = c.user_id AND c.user_id = $1 AND id = $2"
        " WHEN MATCHED THEN DELETE",
    ],
)
async def test_a_statement_that_reaches_other_users_is_detected(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        assert (await judge(connection, sql, ("ada", uuid4(), ["ada", "grace"]), "ada")).wrongs != []


@pytest.mark.parametrize("sql", ["TRUNCATE tasks", "SELECT 1; DELETE FROM tasks", "COPY tasks TO STDOUT"])
async def test_a_statement_without_a_plan_is_rejected(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await judge(connection, sql, (), "ada")
