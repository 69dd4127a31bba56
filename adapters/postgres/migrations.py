"""The schema of a database: its revision, and its migration to the newest one, safe for concurrent processes.

Alembic and SQLAlchemy's ORM are loaded only to migrate: without them a process starts 0.3 seconds sooner.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from adapters.postgres.database import Database
from adapters.postgres.errors import storage_errors
from domain import HextasksError

LOCK_TIMEOUT_SECONDS = 60.0

# In an installed copy the migrations lie beside this file; in the repository they are at the top level.
_INSTALLED = Path(__file__).with_name("alembic")
LOCATION = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "alembic"


class MigrationTimeout(HextasksError):
    """A lock was held by another session until the deadline. The text names that session.

    Migrations before the one that needed it were carried out; the next run continues after them.
    """

    sentence = "A lock that the migration needs was not released in time."


class UnknownRevision(HextasksError):
    """The database is at a revision that this code does not have: newer code migrated it. Nothing was changed."""

    sentence = "A newer version migrated this database; install that version."


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """The revision of a database, and the one that this code needs."""

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether the database has exactly the schema that this code needs."""
        return self.current == self.head


def newest_revision() -> str:
    """Return the newest revision: the number with which the name of the last migration's file begins."""
    return max(path.name for path in LOCATION.glob("versions/*.py")).partition("_")[0]


async def schema_state(database: Database) -> SchemaState:
    """Read the database's revision. Raises StorageUnavailable."""
    with storage_errors:
        async with asyncio.timeout(database.timeout), database.connection() as connection:
            try:
                current = await connection.fetchval("SELECT version_num FROM alembic_version")
            except asyncpg.UndefinedTableError:
                current = None
    return SchemaState(current=current, head=newest_revision())


async def migrate(database: Database, *, lock_timeout: float = LOCK_TIMEOUT_SECONDS) -> None:
    """Bring the database to the newest revision, each migration in a transaction of its own.

    One process migrates; the others wait up to `lock_timeout` seconds, and then have nothing to do. Raises
    MigrationTimeout when that time is exceeded, UnknownRevision, StorageUnavailable, and the driver's other errors.
    """
    from adapters.postgres.migration_session import upgrade

    with storage_errors:
        await upgrade(database, lock_timeout)
