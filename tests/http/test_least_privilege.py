"""The service as a role with exactly the grants of the README."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from adapters.postgres import migrate
from adapters.postgres.dsn import connect_arguments
from tests.databases import Server, patient
from tests.http.wire import listed, made
from tests.services import running_service

pytestmark = pytest.mark.database
README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
async def role_url(server: Server) -> AsyncIterator[str]:
    """A migrated database, and a role on it that may do what the README grants."""
    url = await server.new_database()
    owner = patient(url)
    await migrate(owner)
    role = f"hextasks_service_{uuid4().hex[:8]}"
    (grants,) = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    async with owner.connection() as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        await connection.execute(grants.replace("hextasks_service", role))
    host = urlsplit(url).netloc.rpartition("@")[2]
    yield urlsplit(url)._replace(netloc=f"{role}:secret@{host}").geturl()
    async with owner.connection() as connection:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await owner.close()


async def test_the_service_works_with_the_grants_of_the_readme(role_url: str) -> None:
    with (
        running_service(DATABASE_URL=role_url, ENVIRONMENT="production") as service,
        service.client() as ada,
    ):
        task = made(ada)
        path = f"{ada.tasks}/{task['id']}"
        assert ada.get(path).json() == task
        assert ada.put(path, json={"title": "Buy tea"}).status_code == 200
        assert ada.patch(f"{path}/complete").status_code == 200
        assert len(listed(ada, completed="true")) == 1
        assert ada.delete(path).status_code == 204
        assert ada.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE tasks",
        "TRUNCATE tasks",
        "DELETE FROM task_tombstones",
        "DELETE FROM alembic_version",
    ],
)
async def test_the_role_has_no_other_privileges(role_url: str, statement: str) -> None:
    connection = await asyncpg.connect(**connect_arguments(role_url))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()
