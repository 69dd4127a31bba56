"""The PostgreSQL server of the tests, and databases on it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from adapters.embedded_postgres import EmbeddedPostgres
from adapters.postgres import Database, PoolSettings, migrate
from adapters.postgres.dsn import connect_arguments
from tests.embedded_servers import with_cluster
from tests.patience import DATABASE_TIMEOUT_SECONDS

STORAGES = ["memory", pytest.param("postgres", marks=pytest.mark.database)]
"""The adapters over which a test runs, as parameters of a fixture."""
EMBEDDED = "the embedded PostgreSQL"
POSTGRES_IMAGE = os.environ.get("TEST_POSTGRES_IMAGE", "postgres:18-alpine")


@cache
def server_kind() -> str:
    """Describe the server that the tests will use: of TEST_DATABASE_URL, in Docker, or embedded."""
    if os.environ.get("TEST_DATABASE_URL"):
        return "the server of TEST_DATABASE_URL"
    if _docker_answers():
        return f"testcontainers, {POSTGRES_IMAGE}"
    return EMBEDDED


@contextmanager
def running_server() -> Iterator[str]:
    """Run that server until the end of the block; yields the URL of a database that tests must not change."""
    kind = server_kind()
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
    elif kind.startswith("testcontainers"):
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer(POSTGRES_IMAGE, driver=None) as container:
            yield container.get_connection_url()
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = with_cluster(Path(name))
            with (folder / "data" / "postgresql.auto.conf").open("a") as settings:
                # No test needs the data of this server after a crash.
                settings.write("fsync = off\nfull_page_writes = off\nautovacuum = off\n")
            with EmbeddedPostgres(folder).running() as url:
                yield url


def patient(url: str, schema: str | None = None) -> Database:
    """Return a database with a generous time limit, for tests of anything but the limit."""
    return Database(url, PoolSettings(timeout=DATABASE_TIMEOUT_SECONDS), schema=schema)


async def migrated(server: "Server") -> str:
    """Return the URL of a new database with the newest schema: a copy, because a migration takes longer."""
    if not server.template:
        url = await server.new_database()
        database = patient(url)
        await migrate(database)
        await database.close()
        server.template = url
    return await server.copy(server.template)


def _docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "version"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Server:
    """A server on which tests create databases; `drop_all` removes them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[str] = []
        self.template = ""
        """The URL of a database with the newest schema, to which nothing connects."""

    async def new_database(self, encoding: str = "UTF8") -> str:
        """Create a database and return its URL."""
        locale = "" if encoding == "UTF8" else " LOCALE 'C'"  # the only one that fits every encoding
        return await self._create(f'TEMPLATE template0 ENCODING "{encoding}"{locale}')

    async def copy(self, url: str) -> str:
        """Create a copy of a database to which nothing is connected, and return its URL."""
        return await self._create(f"TEMPLATE {urlsplit(url).path[1:]}")

    async def drop_all(self) -> None:
        """Drop the databases created here, unless their server ends with the tests."""
        for name in self._made if os.environ.get("TEST_DATABASE_URL") else ():
            await self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _create(self, options: str) -> str:
        self._made.append(name := f"hextasks_test_{uuid4().hex[:12]}")
        # Copies of files take a third of the processor time where none of them has to reach a disk.
        strategy = "STRATEGY FILE_COPY" if server_kind() == EMBEDDED else ""
        await self._run(f"CREATE DATABASE {name} {options} {strategy}")
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    async def _run(self, sql: str) -> None:
        connection = await asyncpg.connect(**connect_arguments(self.url))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()
