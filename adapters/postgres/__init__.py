"""Tasks in PostgreSQL, through SQLAlchemy Core and asyncpg. Needs the `postgres` extra.

`adapters.postgres.borrowed` is not imported here: SQLAlchemy's engines load slowly.
"""

from adapters.postgres.calls import Coalescing
from adapters.postgres.database import Database
from adapters.postgres.distribution import Distribution, distribute
from adapters.postgres.epochs import RENEW_RESTORED
from adapters.postgres.executor import Executor
from adapters.postgres.lifecycle import PostgresStorage
from adapters.postgres.migrations import (
    DatabaseNotReady,
    Migrated,
    MigrationTimeout,
    SchemaState,
    UnknownRevision,
    migrate,
    schema_state,
)
from adapters.postgres.observers import StatementObserver
from adapters.postgres.pool import PoolSettings
from adapters.postgres.statement import Statement
from adapters.postgres.tables import TABLES
from adapters.postgres.tasks import PostgresTaskRepository

__all__ = [
    "RENEW_RESTORED",
    "TABLES",
    "Coalescing",
    "Database",
    "DatabaseNotReady",
    "Distribution",
    "Executor",
    "Migrated",
    "MigrationTimeout",
    "PoolSettings",
    "PostgresStorage",
    "PostgresTaskRepository",
    "SchemaState",
    "Statement",
    "StatementObserver",
    "UnknownRevision",
    "distribute",
    "migrate",
    "schema_state",
]
