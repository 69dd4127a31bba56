"""PostgreSQL: databases, repositories and migrations. Needs the `postgres` extra.

`python -m hextasks.postgres migrate` migrates the database of DATABASE_URL, in the schema of DATABASE_SCHEMA, as
`hextasks migrate` does, which needs the `http` extra, too. It reads no `.env`.
"""

import argparse
import asyncio
import os
import sys

from adapters.postgres import (
    TABLES,
    Coalescing,
    Database,
    DatabaseNotReady,
    Executor,
    Migrated,
    MigrationTimeout,
    PoolSettings,
    PostgresTaskRepository,
    SchemaState,
    Statement,
    UnknownRevision,
    migrate,
    schema_state,
)
from adapters.postgres.borrowed import EngineExecutor, PoolExecutor, TransactionExecutor
from application import StorageUnavailable

__all__ = [
    "TABLES",
    "Coalescing",
    "Database",
    "DatabaseNotReady",
    "EngineExecutor",
    "Executor",
    "Migrated",
    "MigrationTimeout",
    "PoolExecutor",
    "PoolSettings",
    "PostgresTaskRepository",
    "SchemaState",
    "Statement",
    "TransactionExecutor",
    "UnknownRevision",
    "migrate",
    "schema_state",
]


def main() -> None:
    """Run the command. A failure that an operator can correct is one line on standard error, and the exit status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m hextasks.postgres",
        description="Migrates the database of DATABASE_URL, in the schema of DATABASE_SCHEMA (environment variables).",
    )
    parser.add_argument("command", choices=["migrate"])
    parser.parse_args()
    if not (url := os.environ.get("DATABASE_URL")):
        sys.exit("hextasks: set DATABASE_URL in the environment")
    try:
        print(asyncio.run(migrate(url, schema=os.environ.get("DATABASE_SCHEMA") or None)))  # noqa: T201
    except StorageUnavailable as error:
        sys.exit(f"hextasks: the database is unavailable: {error.__cause__!r}")
    except (ValueError, DatabaseNotReady) as error:
        sys.exit(f"hextasks: {error}")


if __name__ == "__main__":
    main()
