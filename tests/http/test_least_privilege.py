"""The service as a role with exactly the grants of the documentation."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from adapters.postgres import Database, migrate
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.privileges import NEEDED
from tests.cli.processes import command, forked, said
from tests.databases import Server, patient
from tests.http.wire import assert_problem
from tests.services import SECRET, Client, running_service

pytestmark = pytest.mark.database
GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "roles.md").read_text()
(GRANTS,) = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
UNUSED_BY_CALLS = {
    "SELECT ON hextasks_version",  # read at the start
    # Needed by the purge:
    "DELETE ON task_tombstones",
    "UPDATE ON idempotency_keys",
    "DELETE ON idempotency_keys",
}


@dataclass(frozen=True, slots=True)
class Restricted:
    """A role that may do what the guide grants, on a migrated database."""

    role: str
    url: str
    owner: Database

    async def execute(self, sql: str) -> None:
        """Execute statements as the owner of the tables."""
        async with self.owner.connection() as connection:
            await connection.execute(sql)


@pytest.fixture
async def restricted(server: Server) -> AsyncIterator[Restricted]:
    url = await server.new_database()
    owner = patient(url)
    await migrate(owner)
    role = f"hextasks_service_{uuid4().hex[:8]}"
    host = urlsplit(url).netloc.rpartition("@")[2]
    restricted = Restricted(role, urlsplit(url)._replace(netloc=f"{role}:secret@{host}").geturl(), owner)
    await restricted.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; REVOKE ALL ON SCHEMA public FROM public")
    await restricted.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
    await restricted.execute(GRANTS.replace("hextasks_service", role))
    yield restricted
    await restricted.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await owner.close()


def test_the_readme_grants_what_is_needed() -> None:
    grants = [f"GRANT {', '.join(needed)} ON {table} TO hextasks_service;\n" for table, needed in NEEDED.items()]
    assert "".join(grants) == GRANTS


def statuses(ada: Client) -> list[int]:
    """Make every kind of call, and return the statuses of the responses."""
    post, again = (
        ada.post(ada.tasks, json={"title": "Buy milk"}, headers={"Idempotency-Key": key}) for key in [str(uuid4())] * 2
    )
    path = f"{ada.tasks}/{post.json()['id'] if post.status_code == 201 else uuid4()}"
    answers = [
        post,
        again,
        ada.get(path),
        ada.put(path, json={"title": "Buy tea"}),
        ada.patch(f"{path}/complete"),
        ada.get(ada.tasks, params={"completed": "true"}),
        ada.delete(path),
    ]
    return [answer.status_code for answer in answers]


async def test_the_service_works_with_the_grants_of_the_readme(restricted: Restricted, tmp_path: Path) -> None:
    with running_service(DATABASE_URL=restricted.url, ENVIRONMENT="production") as service, service.client() as ada:
        assert statuses(ada) == [201, 201, 200, 200, 200, 200, 204]
        assert ada.get("/health/ready").status_code == 200
    settings = {"DATABASE_URL": restricted.url, "ENVIRONMENT": "production", "JWT_SECRET": SECRET}
    purged = command("purge", cwd=tmp_path, **settings)
    assert (purged.returncode, purged.stderr) == (0, "")
    forgotten = command("forget", ada.user, "--yes", cwd=tmp_path, **settings)
    reason = "permission denied for table task_counters. Run it as the owner of the tables; nothing was deleted"
    assert (forgotten.returncode, said(forgotten)) == (1, f"hextasks: {reason}")
    await restricted.execute(f"GRANT DELETE ON task_counters TO {restricted.role}")
    assert command("forget", ada.user, "--yes", cwd=tmp_path, **settings).returncode == 0


async def test_without_any_of_them_it_is_not_ready_and_logs_the_grant(
    restricted: Restricted, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of them is needed: calls fail as those of an unavailable database."""
    missing = [(f"ON public.{table}", privilege) for table, needed in NEEDED.items() for privilege in needed]
    with running_service(DATABASE_URL=restricted.url, ENVIRONMENT="production") as service, service.client() as ada:
        assert ada.post(ada.tasks, json={"title": "the counter exists"}).status_code == 201
        for place, privilege in [*missing, ("ON SCHEMA public", "USAGE")]:
            caplog.clear()
            await restricted.execute(f"REVOKE {privilege} {place} FROM {restricted.role}")
            assert_problem(ada.get("/health/ready"), "storage_unavailable")
            found = set(statuses(ada))
            assert found <= {200, 201, 204, 404, 503}
            assert 503 in found or f"{privilege} {place}".replace("public.", "") in UNUSED_BY_CALLS
            grant = f"GRANT {privilege} {place} TO {restricted.role};"
            assert [r.getMessage() for r in caplog.records if "not ready" in r.message] == [
                f"not ready: the role lacks privileges. As the owner of the tables run: {grant}"
            ]
            await restricted.execute(grant)
            assert ada.get("/health/ready").status_code == 200
        assert statuses(ada) == [201, 201, 200, 200, 200, 200, 204]


@pytest.mark.parametrize("place", ["ON SCHEMA public", "ON hextasks_version", "ON tasks"])
async def test_a_start_is_rejected_and_doctor_prints_the_grant(
    restricted: Restricted, tmp_path: Path, place: str
) -> None:
    settings = {"DATABASE_URL": restricted.url, "ENVIRONMENT": "production", "JWT_SECRET": SECRET, "PORT": "0"}
    await restricted.execute(f"REVOKE ALL {place} FROM {restricted.role}")
    rejected = forked("serve", cwd=tmp_path, **settings)
    assert (rejected.returncode, "Traceback" in rejected.stderr) == (1, False)
    found = command("doctor", cwd=tmp_path, **settings)
    assert found.returncode == 1
    remedy = re.search(
        r"^FAIL +privileges .*\n +-> as the owner of the tables run: (GRANT .*)$", found.stdout, re.MULTILINE
    )
    assert remedy, found.stdout
    assert remedy[1] in rejected.stderr
    await restricted.execute(remedy[1])
    assert command("doctor", cwd=tmp_path, **settings).returncode == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE tasks",
        "TRUNCATE tasks",
        "UPDATE task_tombstones SET version = 1",
        "DELETE FROM hextasks_version",
    ],
)
async def test_the_role_has_no_other_privileges(restricted: Restricted, statement: str) -> None:
    connection = await asyncpg.connect(**connect_arguments(restricted.url))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()
