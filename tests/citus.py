"""Runs tests on a Citus cluster: `pytest -p tests.citus`, with TEST_DATABASE_URL of its coordinator.

CITUS_WORKERS names the other nodes, as `127.0.0.1:6501,127.0.0.1:6502`. Every database of the tests is made on all of
them, and distributed as soon as it is migrated.
"""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

import adapters.postgres.migration_session as migrating
from adapters.postgres import Database, distribute, migrate
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.migrations import schema_state
from tests.databases import Server, patient
from tests.patience import GENEROUS

IS_USED = "CITUS_WORKERS" in os.environ

upgrade = migrating.upgrade


@pytest.fixture(scope="session", autouse=True)
def distributed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "_create", create)
        patch.setattr(Server, "copy", new_database)
        patch.setattr(migrating, "upgrade", upgrade_and_distribute)
        # A service that migrates a database does not expect that it is distributed at once.
        patch.setitem(GENEROUS, "DATABASE_COALESCING", "user")
        yield


async def create(server: Server, _: str) -> str:
    """Create a database on every node, and return its URL on the coordinator."""
    url = urlsplit(server.url)
    first, *workers = [f"{url.hostname}:{url.port}", *os.environ["CITUS_WORKERS"].split(",")]
    server._made.append(name := f"hextasks_test_{uuid4().hex[:12]}")
    for node in (first, *workers):
        await run(server.url, node, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING UTF8")
        await run(server.url, node, "CREATE EXTENSION citus", name)
    added = [f"SELECT citus_set_coordinator_host('{url.hostname}', {url.port})"]
    added += ["SELECT citus_add_node('{}', {})".format(*node.split(":")) for node in workers]
    await run(server.url, first, ";".join(added), name)
    return url._replace(path=f"/{name}").geturl()


async def new_database(server: Server, _: str) -> str:
    """Return a migrated and distributed database, of which there are no copies."""
    url = await server.new_database()
    database = patient(url)
    await migrate(database)
    await database.close()
    return url


async def upgrade_and_distribute(database: Database, lock_timeout: float) -> None:
    await upgrade(database, lock_timeout)
    if (await schema_state(database)).is_current:
        await distribute(database)


async def run(url: str, node: str, sql: str, database: str = "postgres") -> None:
    host, _, port = node.partition(":")
    connection = await asyncpg.connect(
        **connect_arguments(url) | {"host": host, "port": int(port), "database": database}
    )
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
