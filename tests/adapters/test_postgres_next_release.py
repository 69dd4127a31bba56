"""Change without downtime: this release serves a schema that the next one has migrated, if its migration says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from adapters.postgres import Database, PostgresStorage, UnknownRevision, migrate, schema_state
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.migrations import LOCATION, newest_revision
from tests.cli.processes import command
from tests.databases import patient
from tests.next_release import CONTRACT, EXPAND, NextRelease
from tests.patience import until
from tests.services import Service, running_service
from tests.sql import fetch

pytestmark = [pytest.mark.database, pytest.mark.service]


class Users:
    """Users of the service, who do everything that it offers, and fail with the first request that does."""

    def __init__(self) -> None:
        self.rounds = 0

    async def progress(self) -> None:
        """Wait until each has done everything again."""
        enough = self.rounds + 6

        async def is_reached() -> bool:
            return self.rounds >= enough

        await until(is_reached)

    async def use(self, service: Service) -> None:
        """Do everything, over and over, until cancelled."""
        with service.client() as user:
            headers, path = user.headers, user.tasks
        async with httpx.AsyncClient(base_url=service.url, headers=headers, verify=False, timeout=60) as http:
            while True:
                key = {"Idempotency-Key": f'"{uuid4()}"'}
                made = await http.post(path, json={"title": "Ärger"}, headers=key)
                again = await http.post(path, json={"title": "Ärger"}, headers=key)
                assert (made.status_code, again.json(), again.headers["Idempotency-Replayed"]) == (
                    201,
                    made.json(),
                    "true",
                )
                task = f"{path}/{made.json()['id']}"
                await _asked(http, "PUT", task, {"title": "Öl kaufen"})
                await _asked(http, "PATCH", f"{task}/complete")
                found = await _asked(http, "GET", f"{path}?q=öl&completed=true")
                assert [each["title"] for each in found.json()["tasks"]] == ["Öl kaufen"]
                since = made.headers["Sync-Token"]
                async with http.stream("GET", f"{path}/events?since={since}") as stream:
                    assert "event: change" in [line async for line in _first(stream, 8)]
                batch = [{"op": "create", "title": "x"}, {"op": "delete", "id": made.json()["id"]}]
                results = (await _asked(http, "POST", f"{path}/batch", {"operations": batch})).json()["results"]
                changes = (await _asked(http, "GET", f"{path}/changes?since={since}")).json()["changes"]
                assert [each["op"] for each in changes] == ["put", "delete"]
                await _asked(http, "DELETE", f"{path}/{results[0]['task']['id']}")
                self.rounds += 1
                await asyncio.sleep(0.02)  # requests without pauses would only take processor time


async def _asked(http: httpx.AsyncClient, method: str, path: str, body: object = None) -> httpx.Response:
    answer = await http.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer


async def _first(stream: httpx.Response, count: int) -> AsyncIterator[str]:
    async for line in stream.aiter_lines():
        yield line
        if not (count := count - 1):
            return


@asynccontextmanager
async def using(service: Service) -> AsyncIterator[Users]:
    """Use a service during the block. Fails if a request did."""
    users = Users()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(users.use(service)) for _ in range(3)]
        await users.progress()
        yield users
        await users.progress()
        for task in tasks:
            task.cancel()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = patient(url)
    yield database
    await database.close()


async def test_it_serves_before_during_and_after_the_migration_and_starts_again(
    url: str, database: Database, tmp_path: Path
) -> None:
    head = newest_revision()
    following = NextRelease(tmp_path)
    following.add(EXPAND[0], compatible_from=head)
    revision = following.add(EXPAND[1], compatible_from=head)
    analyst = await asyncpg.connect(**connect_arguments(url))
    with running_service(is_measured=False, DATABASE_URL=url, ENVIRONMENT="production") as service:
        async with using(service) as users:
            await users.progress()
            async with analyst.transaction():  # the lock that the migration needs, for longer than its first waits
                await analyst.execute("LOCK TABLE tasks IN ACCESS SHARE MODE")
                migration = asyncio.create_task(following.migrate(database))
                for _ in range(2):
                    await users.progress()
                assert (await schema_state(database)).is_current
            await migration
    await analyst.close()
    state = await schema_state(database)
    assert (state.current, state.is_newer, state.is_compatible) == (revision, True, True)
    with running_service(is_measured=False, DATABASE_URL=url, ENVIRONMENT="production") as service:
        async with using(service):
            pass
    assert str(await migrate(database)) == f"already at revision {revision}"
    found = command("doctor", cwd=tmp_path, DATABASE_URL=url).stdout
    assert f"at revision {revision} of {head}, which works with this version" in found


async def test_it_does_not_start_on_a_schema_that_it_does_not_work_on(
    url: str, database: Database, tmp_path: Path
) -> None:
    head = newest_revision()
    following = NextRelease(tmp_path)
    following.add(*EXPAND, compatible_from=head)
    revision = following.add(*CONTRACT)
    await following.migrate(database)
    for migrates in (False, True):
        storage = PostgresStorage(url, migrates=migrates)
        with pytest.raises(UnknownRevision, match=rf"to revision {revision}, .* revision {head}, .* Install the newer"):
            await storage.start()
        await storage.close()
    with pytest.raises(UnknownRevision):
        await migrate(database)
    ended = command("doctor", cwd=tmp_path, DATABASE_URL=url)
    assert "which does not work with this version" in ended.stdout
    assert ended.returncode == 1


async def test_a_database_from_before_the_column_is_as_it_was(database: Database, tmp_path: Path) -> None:
    await fetch(database, "ALTER TABLE hextasks_version DROP COLUMN compatible_from")
    assert (await schema_state(database)).is_current
    following = NextRelease(tmp_path)
    following.add(*EXPAND, compatible_from=newest_revision())
    await following.migrate(database)
    assert (await schema_state(database)).is_compatible


def test_each_migration_states_a_revision_that_is_no_older_than_that_of_the_one_before() -> None:
    found = [
        dict(line.split(" = ") for line in path.read_text().splitlines() if line.startswith(("revision", "compatible")))
        for path in sorted(LOCATION.glob("versions/*.py"))
    ]
    stated = [(each["compatible_from"].strip('"'), each["revision"].strip('"')) for each in found]
    assert [revision for _, revision in stated] == [f"{n:04}" for n in range(1, len(stated) + 1)]
    assert all(before <= revision for before, revision in stated)
    assert [before for before, _ in stated] == sorted(before for before, _ in stated)
