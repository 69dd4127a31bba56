"""A database as a service needs it: examined and migrated at the start, checked while in use, closed at the end."""

import asyncio
import logging
from dataclasses import dataclass

import asyncpg

from adapters.postgres.calls import Coalescing
from adapters.postgres.database import Database
from adapters.postgres.distribution import Distribution, distribution
from adapters.postgres.epochs import begin_counter, renew_epochs
from adapters.postgres.errors import storage_errors
from adapters.postgres.migrations import (
    DatabaseNotReady,
    Migrated,
    SchemaState,
    UnknownRevision,
    migrate,
    rejections,
    schema_state,
)
from adapters.postgres.observers import StatementObserver
from adapters.postgres.pool import PoolSettings
from adapters.postgres.privileges import describe_missing
from adapters.postgres.tasks import PostgresTaskRepository
from application import StorageUnavailable

_log = logging.getLogger("hextasks.storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The state of a database."""

    server_version: str
    encoding: str
    grants: tuple[str, ...]
    """The statements that grant the privileges that the role lacks."""
    pooler: str
    """The pooler in between, in words; empty if there is none."""
    schema: SchemaState | None
    """None if the role lacks privileges, so that it may not read the revision."""
    distribution: Distribution | None
    """None if the tables are on one node."""


class PostgresStorage:
    """Tasks in a PostgreSQL database. Every method may raise StorageUnavailable."""

    def __init__(
        self,
        url: str,
        pool: PoolSettings | None = None,
        *,
        schema: str | None = None,
        coalescing: Coalescing = "all",
        observers: tuple[StatementObserver, ...] = (),
        migrates: bool,
    ) -> None:
        """Prepare, without connecting. Raises ValueError for a bad URL or schema.

        `migrates` has `start` bring an older schema to the newest revision, rather than reject it. On distributed
        tables, `coalescing="all"` means "user", because a statement for several users would visit several shards.
        """
        self.database = Database(url, pool, schema=schema, observers=observers)
        self.tasks = PostgresTaskRepository(self.database, coalescing=coalescing)
        self._coalescing = coalescing
        self._migrates = migrates
        self._is_checked = False
        self._not_ready = ""
        """The reason in the last warning."""
        self._check: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Prove that the database is ready for this code. Raises DatabaseNotReady."""
        found = await self.examine()
        if found.encoding != "UTF8":
            raise DatabaseNotReady(f"the database's encoding is {found.encoding}; create one with encoding UTF8")
        if found.schema is None:
            raise DatabaseNotReady(describe_missing([*found.grants]))
        if not found.schema.is_compatible:
            if found.schema.is_newer:
                raise UnknownRevision(
                    f"a newer version migrated the database to revision {found.schema.current}, on which this version, "
                    f"of revision {found.schema.head}, does not work. Install the newer version"
                )
            if not self._migrates:
                schema = f" with DATABASE_SCHEMA={self.database.schema}" if self.database.schema else ""
                raise DatabaseNotReady(f"{found.schema.difference}{schema}")
            await self.migrate()
            found = await self.examine()
        if found.distribution:
            if found.distribution.missing:
                missing = ", ".join(found.distribution.missing)
                raise DatabaseNotReady(f"of distributed tables, {missing} is missing. Run: hextasks distribute")
            if self._coalescing == "all":
                self.tasks.share("user")
        self._is_checked = True

    async def examine(self) -> Examined:
        """Read the database's version, encoding, privileges, revision and nodes. Raises DatabaseNotReady."""
        with rejections():
            found = await self.database.examine()
            schema = None if found["grants"] else await schema_state(self.database)
            is_examined = schema and schema.current and found["has_citus"]
            return Examined(
                server_version=found["version"],
                encoding=found["encoding"],
                grants=tuple(found["grants"]),
                pooler=self.database.pooler,
                schema=schema,
                distribution=await distribution(self.database) if is_examined else None,
            )

    async def migrate(self) -> Migrated:
        """Bring the schema to the newest revision, as `migrate` does. Raises DatabaseNotReady."""
        return await migrate(self.database)

    async def renew_epochs(self) -> int:
        """Make all sync tokens of a restored database expire; return the number of users. Raises DatabaseNotReady."""
        await self.start()
        return await renew_epochs(self.database)

    async def begin_list(self, user_id: str) -> None:
        """Prepare for the import of a user's list, where the user has none: see `begin_counter`."""
        await begin_counter(self.database, user_id)

    async def check(self) -> None:
        """Do what `start` does unless it has succeeded. Raises StorageUnavailable while the database is not ready.

        Waits as long as an examination may take, two statements; a migration goes on meanwhile, for later calls.
        """
        if self._is_checked:
            return
        if self._check is None or self._check.done():  # concurrent requests share one check, and one line in the log
            self._check = asyncio.create_task(self._start())
        with storage_errors:
            async with asyncio.timeout(2 * self.database.timeout):
                await asyncio.shield(self._check)

    async def _start(self) -> None:
        try:
            await self.start()
        except DatabaseNotReady as error:
            self._warn(str(error))
            raise StorageUnavailable from error

    async def ping(self) -> None:
        """Prove that the database can serve now."""
        await self.check()
        try:
            await self.database.ping()
        except StorageUnavailable as error:
            if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                self._warn(str(error.__cause__))
            raise
        self._not_ready = ""

    def _warn(self, reason: str) -> None:
        """Log what an operator must correct, once."""
        if reason != self._not_ready:
            self._not_ready = reason
            _log.warning("not ready: %s", reason)

    async def close(self) -> None:
        """Close every connection."""
        if self._check:
            self._check.cancel()
        await self.database.close()
