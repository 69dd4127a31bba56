"""Tasks in PostgreSQL, through SQLAlchemy Core and asyncpg. Needs the `postgres` extra.

`adapters.postgres.borrowed` is not imported here: SQLAlchemy's engines load slowly.
"""

from adapters.postgres.database import Database
from adapters.postgres.distribution import Distribution, distribute
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
from adapters.postgres.pool import PoolSettings
from adapters.postgres.statement import Statement
from adapters.postgres.tables import TABLES
from adapters.postgres.tasks import Coalescing, PostgresTaskRepository

__all__ = [
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
    "UnknownRevision",
    "distribute",
    "migrate",
    "schema_state",
]
