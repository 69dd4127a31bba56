"""The migration of a database to the newest schema, safe for concurrent processes."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection

from adapters.postgres.database import Database
from adapters.postgres.errors import storage_errors
from adapters.postgres.migration_session import LOCK_TIMEOUT_SECONDS, migration_session

# In an installed copy the migrations lie beside this file; in the repository they are at the top level.
_INSTALLED = Path(__file__).with_name("alembic")
LOCATION = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "alembic"


class UnknownRevision(Exception):
    """The database is at a revision that this code does not have: newer code migrated it. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """The revision of a database, and the one that this code needs."""

    current: str | None
    head: str | None

    @property
    def is_current(self) -> bool:
        """Whether the database has exactly the schema that this code needs."""
        return self.current == self.head


async def schema_state(database: Database) -> SchemaState:
    """Read the database's revision. Raises StorageUnavailable."""
    with storage_errors:
        async with asyncio.timeout(database.timeout), database.connection() as connection:
            try:
                current = await connection.fetchval("SELECT version_num FROM alembic_version")
            except asyncpg.UndefinedTableError:
                current = None
    return SchemaState(current=current, head=ScriptDirectory(str(LOCATION)).get_current_head())


async def migrate(database: Database, *, lock_timeout: float = LOCK_TIMEOUT_SECONDS) -> None:
    """Bring the database to the newest revision in one transaction.

    One process migrates; the others wait up to `lock_timeout` seconds, and then have nothing to do. Raises
    MigrationTimeout when that time is exceeded, UnknownRevision, StorageUnavailable, and the driver's other errors.
    """
    with storage_errors:
        try:
            async with migration_session(database, lock_timeout=lock_timeout) as session:
                await session.run_sync(lambda connection: command.upgrade(alembic_config(connection), "head"))
        except CommandError as error:
            if isinstance(error.__cause__, ResolutionError):
                raise UnknownRevision from error
            raise


def alembic_config(connection: Connection) -> Config:
    """Return the configuration of alembic's commands for a connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    return config
