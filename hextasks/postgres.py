"""PostgreSQL: databases, repositories and migrations. Needs the `postgres` extra."""

from adapters.postgres import (
    Coalescing,
    Database,
    DatabaseNotReady,
    Executor,
    MigrationTimeout,
    PoolSettings,
    PostgresStorage,
    PostgresTaskRepository,
    SchemaState,
    Statement,
    UnknownRevision,
    migrate,
    schema_state,
)
from adapters.postgres.borrowed import EngineExecutor, PoolExecutor, TransactionExecutor

__all__ = [
    "Coalescing",
    "Database",
    "DatabaseNotReady",
    "EngineExecutor",
    "Executor",
    "MigrationTimeout",
    "PoolExecutor",
    "PoolSettings",
    "PostgresStorage",
    "PostgresTaskRepository",
    "SchemaState",
    "Statement",
    "TransactionExecutor",
    "UnknownRevision",
    "migrate",
    "schema_state",
]
