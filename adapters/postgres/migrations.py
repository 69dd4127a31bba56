"""The schema of a database: its revision, and its migration to the newest one, safe for concurrent processes.

Alembic and SQLAlchemy's ORM are loaded only to migrate: without them a process starts 0.3 seconds sooner.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from adapters.postgres.database import Database
from adapters.postgres.errors import storage_errors
from adapters.postgres.search_keys import fill_search_keys
from adapters.postgres.version_table import RECORDED, UNRECORDED
from application import StorageNotMigrated, StorageUnavailable
from domain import HextasksError

LOCK_TIMEOUT_SECONDS = 60.0

# In an installed copy the migrations lie beside this file; in the repository they are at the top level.
_INSTALLED = Path(__file__).with_name("alembic")
LOCATION = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "alembic"

_log = logging.getLogger("hextasks.storage")


class DatabaseNotReady(HextasksError):
    """The database responds, but an operator must act. The text is one line with the reason and the remedy."""

    sentence = "The database is not ready."


class MigrationTimeout(DatabaseNotReady):
    """A lock was held by another session until the deadline. The text names that session.

    Migrations before the one that needed it were carried out; the next run continues after them.
    """

    sentence = "A lock that the migration needs was not released in time."


class UnknownRevision(DatabaseNotReady):
    """The database is at a revision that this code does not have, and does not work on. Nothing was changed."""

    sentence = "A newer version migrated this database, on which this version does not work; install that version."


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """The revision of a database, and that of this code. Revisions are numbers of four digits."""

    current: str | None
    head: str
    compatible_from: str | None = None
    """The oldest revision whose release works on the database, as its last migration says."""

    @property
    def is_current(self) -> bool:
        """Whether the database has exactly the schema of this code."""
        return self.current == self.head

    @property
    def is_newer(self) -> bool:
        """Whether newer code migrated the database."""
        return self.current is not None and self.current > self.head

    @property
    def difference(self) -> str:
        """What an operator has to know of a schema that this code cannot use yet."""
        needed = f"this version needs {self.head}. Run: hextasks migrate"
        return f"the database is at revision {self.current or 'none'}, {needed}"

    @property
    def is_compatible(self) -> bool:
        """Whether this code works on the database: it is current, or newer and its last migration says so."""
        return self.is_current or (self.is_newer and (self.compatible_from or "9999") <= self.head)


@dataclass(frozen=True, slots=True)
class Migrated:
    """The states of a schema before and after its migration. `str()` is a line for the operator."""

    before: SchemaState
    after: SchemaState

    def __str__(self) -> str:
        if self.before == self.after:
            return f"already at revision {self.after.current}"
        return f"migrated from revision {self.before.current or 'none'} to {self.after.current}"


def newest_revision() -> str:
    """Return the newest revision: the number with which the name of the last migration's file begins."""
    return max(path.name for path in LOCATION.glob("versions/*.py")).partition("_")[0]


async def schema_state(database: Database) -> SchemaState:
    """Read the database's revision. Raises StorageUnavailable."""
    try:
        rows = await database.fetch(RECORDED)
    except StorageNotMigrated:
        rows = []
    rows = rows or await database.fetch(UNRECORDED, [database.schema])
    current, compatible_from = (rows[0][0], rows[0][1]) if rows else (None, None)
    return SchemaState(current=current, head=newest_revision(), compatible_from=compatible_from)


async def migrate(
    database: Database | str, *, schema: str | None = None, lock_timeout: float = LOCK_TIMEOUT_SECONDS
) -> Migrated:
    """Bring the tables of a database to the newest revision; make them, and their schema, where there are none.

    Takes a Database, which has its schema, or a `postgresql://` URL and a `schema`; without one, the tables are in the
    first schema of the role's search path. The role needs to own the tables, and to connect without a transaction
    pooler. Processes of the version before continue to work. Each migration is a transaction of its own. Of several
    processes one migrates; the others wait up to `lock_timeout` seconds, and then have nothing to do. A migration tries
    to lock a table for up to `lock_timeout` seconds, too, in short attempts, between which other statements run. A
    schema that newer code has migrated is left as it is; if this code does not work on it, UnknownRevision is raised.

    Corrects the search keys of all tasks, too, even in a database that is at the newest revision: as long as a process
    of an earlier version runs beside this one, it stores tasks without.

    Raises TypeError and ValueError for anything else; DatabaseNotReady, of which MigrationTimeout and UnknownRevision
    are two kinds; and StorageUnavailable.
    """
    if isinstance(database, str):
        opened = Database(database, schema=schema)
        try:
            return await migrate(opened, lock_timeout=lock_timeout)
        finally:
            await opened.close()
    if not isinstance(database, Database):
        raise TypeError(f"migrate needs a postgresql:// URL or a Database; not {type(database).__name__}")
    if schema is not None:
        raise ValueError("a Database has its schema; give one together with a URL only")
    with rejections():
        before = await schema_state(database)
        if before.is_newer:
            if not before.is_compatible:
                raise UnknownRevision
            return Migrated(before, before)
        if not before.is_current:
            from adapters.postgres.migration_session import upgrade

            with storage_errors:
                await upgrade(database, lock_timeout)
        if corrected := await fill_search_keys(database):
            _log.info("corrected the search keys of %d tasks", corrected)
        return Migrated(before, await schema_state(database))


@contextmanager
def rejections() -> Iterator[None]:
    """Turn errors by which the database rejects an operation into DatabaseNotReady."""
    try:
        yield
    except StorageUnavailable as error:
        if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
            raise _rejection(error.__cause__) from error
        raise
    except asyncpg.PostgresError as error:
        raise _rejection(error) from error


def _rejection(error: BaseException) -> DatabaseNotReady:
    is_taken = isinstance(error, asyncpg.DuplicateTableError)
    remedy = "; give the service a schema of its own (DATABASE_SCHEMA)" if is_taken else ""
    return DatabaseNotReady(f"the database rejects this: {str(error).splitlines()[0]}{remedy}")
