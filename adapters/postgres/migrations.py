"""Bringing a database to the newest schema, by any number of processes at once."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from adapters.postgres.database import Database
from adapters.postgres.errors import LOCK_NOT_AVAILABLE, sqlstate, storage_errors

LOCK_KEY = 0x68657874  # "hext": any number that nobody else in the database takes
LOCK_TIMEOUT_SECONDS = 60.0

_one_at_a_time = asyncio.Lock()  # alembic keeps its context in module globals

# In an installed copy the migrations lie beside this file; in the repository they are at the top level.
_INSTALLED = Path(__file__).with_name("alembic")
LOCATION = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "alembic"


class MigrationTimeout(Exception):
    """Another process held the migration lock until the deadline. Nothing was changed."""


class UnknownRevision(Exception):
    """The database is at a revision that this code does not have: newer code migrated it. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """Which revision a database is at, and which one this code needs."""

    current: str | None
    head: str | None

    @property
    def is_current(self) -> bool:
        """Whether the database has just the schema that this code needs."""
        return self.current == self.head


async def schema_state(database: Database) -> SchemaState:
    """Read which revision the database is at. Raises StorageUnavailable."""
    with storage_errors():
        async with database.engine.connect() as connection:
            current = await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
    return SchemaState(current=current, head=ScriptDirectory(str(LOCATION)).get_current_head())


async def migrate(database: Database, *, lock_timeout: float = LOCK_TIMEOUT_SECONDS) -> None:
    """Bring the database to the newest revision in one transaction.

    One process migrates while the others wait up to `lock_timeout` seconds, then find nothing left to do. Raises
    MigrationTimeout when the wait is over, UnknownRevision, and StorageUnavailable.
    """
    with storage_errors():
        try:
            async with _one_at_a_time, database.engine.connect() as connection:
                await connection.run_sync(lambda c: command.upgrade(alembic_config(c, lock_timeout), "head"))
        except DBAPIError as error:
            if sqlstate(error) == LOCK_NOT_AVAILABLE:
                raise MigrationTimeout from error
            raise
        except CommandError as error:
            if isinstance(error.__cause__, ResolutionError):
                raise UnknownRevision from error
            raise


def alembic_config(connection: Connection, lock_timeout: float = LOCK_TIMEOUT_SECONDS) -> Config:
    """Return what alembic's commands need to work on a connection."""
    config = Config(attributes={"connection": connection, "lock_timeout": lock_timeout})
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    return config
