"""The cost of a request in exact counts: round trips, prepared statements, bytecode instructions.

Counts, because times depend on the load of the machine. A number that grew is either a regression or the price of a
feature; in the second case, change it here, in the same commit.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from adapters.postgres import Database, PoolSettings, PostgresTaskRepository
from adapters.postgres.statement import Statement
from hextasks.testing.contract.calls import LATER, a_task, add, save
from tests.databases import Server, migrated
from tests.http.wire import made, one
from tests.patience import DATABASE_TIMEOUT_SECONDS
from tests.services import Client, running_service

# One statement each; a change reads before it writes, and so does any write of a named task with a key. A retry with a
# key is rejected, and then looked up. A batch reads the tasks that it names, all at once.
ROUND_TRIPS = {
    "get": 1,
    "unchanged": 1,
    "list": 1,
    "unchanged list": 1,
    "search": 1,
    "changes": 1,
    "create": 1,
    "update": 2,
    "complete": 2,
    "again": 1,
    "create with a key": 1,
    "create again": 2,
    "update with a key": 2,
    "update again": 3,
    "create many": 1,
    "change many": 2,
    "delete": 1,
}

# Printed by `python -m tests.http.instructions`, with the locked versions of the dependencies; 5 % more is the margin
# for other versions of Python and for small features.
INSTRUCTIONS = {
    "get": 3182,
    "list": 4354,
    "create": 4467,
    "update": 4896,
    "complete": 4582,
    "delete": 4209,
    "get with metrics": 3280,
}


def test_instructions_of_each_call() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.http.instructions"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    counts = json.loads(printed)
    assert counts.keys() == INSTRUCTIONS.keys()
    for operation, limit in INSTRUCTIONS.items():
        assert counts[operation] <= limit * 1.05, counts
    assert counts["get with metrics"] <= counts["get"] * 1.05, counts


@pytest.mark.database
class TestStatements:
    """The statements that the calls of one sequential client send to PostgreSQL."""

    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of the statements, in the order in which they were sent."""
        names: list[str] = []
        fetch = Database.fetch

        async def noted(database: Database, statement: Statement, *arguments: Any, **options: Any) -> Any:
            names.append(statement.name)
            return await fetch(database, statement, *arguments, **options)

        monkeypatch.setattr(Database, "fetch", noted)
        return names

    def test_round_trips_of_each_call(self, service_database_url: str, sent: list[str]) -> None:
        with running_service(DATABASE_URL=service_database_url) as service, service.client() as me:
            self.call_everything(me, sent)

    async def test_the_number_of_prepared_statements_does_not_depend_on_the_number_of_calls(
        self, server: Server
    ) -> None:
        url = await migrated(server)
        database = Database(url, PoolSettings(size=1, max_overflow=0, timeout=DATABASE_TIMEOUT_SECONDS))
        tasks = PostgresTaskRepository(database)
        counts = []
        for many in (1, 2, 3, 7, 50, 200):
            added = await asyncio.gather(*(add(tasks, a_task(user_id=f"user {n}")) for n in range(many) for _ in "ab"))
            await asyncio.gather(*(tasks.get(task.user_id, task.id) for task in added))
            saved = await asyncio.gather(*(save(tasks, replace(task, title="Buy oat milk")) for task in added))
            await asyncio.gather(*(tasks.remove(task.user_id, task.id, removed_at=LATER) for task in saved))
            async with database.connection() as connection:
                counts.append(await connection.fetchval("SELECT count(*) FROM pg_prepared_statements"))
        await database.close()
        assert len(set(counts[1:])) == 1, counts

    def call_everything(self, me: Client, sent: list[str]) -> None:
        """Make each call, and compare the number of statements that it took."""
        made(me)  # a user's first write finds no counter
        task = made(me)
        path = one(me, task)
        tea, key = {"title": "Buy tea"}, {"Idempotency-Key": "k"}
        mixed = [{"op": "complete", "id": made(me)["id"]} for _ in range(50)] + [{"op": "create", **tea}] * 50
        tag = me.get(me.tasks).headers["etag"]
        calls: dict[str, Callable[[], httpx.Response]] = {
            "get": lambda: me.get(path),
            "unchanged": lambda: me.get(path, headers={"If-None-Match": "*"}),
            "list": lambda: me.get(me.tasks),
            "unchanged list": lambda: me.get(me.tasks, headers={"If-None-Match": tag}),
            "search": lambda: me.get(me.tasks, params={"q": "milk"}),
            "changes": lambda: me.get(f"{me.tasks}/changes"),
            "create": lambda: me.post(me.tasks, json={"title": "Buy milk"}),
            "update": lambda: me.put(path, json={"title": "Buy oat milk"}),
            "complete": lambda: me.patch(f"{path}/complete"),
            "again": lambda: me.patch(f"{path}/complete"),
            "create with a key": lambda: me.post(me.tasks, json=tea, headers=key),
            "create again": lambda: me.post(me.tasks, json=tea, headers=key),
            "update with a key": lambda: me.put(path, json=tea, headers={"Idempotency-Key": "another"}),
            "update again": lambda: me.put(path, json=tea, headers={"Idempotency-Key": "another"}),
            "create many": lambda: me.post(f"{me.tasks}/batch", json={"operations": [{"op": "create", **tea}] * 100}),
            "change many": lambda: me.post(f"{me.tasks}/batch", json={"operations": mixed}),
            "delete": lambda: me.delete(path),
        }
        counts = {}
        for name, call in calls.items():
            before = len(sent)
            assert call().is_success or name.startswith("unchanged")
            counts[name] = len(sent) - before
        assert counts == ROUND_TRIPS
