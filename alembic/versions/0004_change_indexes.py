"""The indexes by which changes are read and tombstones purged, built while the tables are in use.

CREATE INDEX CONCURRENTLY runs in no transaction, and leaves an invalid index behind when it is interrupted. The next
run builds that one again, and keeps those that were completed.
"""

from alembic import context, op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
compatible_from = "0001"
branch_labels = None
depends_on = None

INDEXES = {
    "tasks_by_version": "tasks (user_id, version)",
    "task_tombstones_by_version": "task_tombstones (user_id, version)",
    "task_tombstones_by_age": "task_tombstones (removed_at)",
}
# It waits for the end of older transactions, but no request waits for it meanwhile, unlike for other migrations.
PATIENT = """
    SELECT set_config('hextasks.lock_timeout', current_setting('lock_timeout'), false),
        set_config('lock_timeout', '60s', false)
"""
AS_BEFORE = "SELECT set_config('lock_timeout', current_setting('hextasks.lock_timeout'), false)"


def upgrade() -> None:
    """Build the indexes that are missing or invalid."""
    with op.get_context().autocommit_block():
        op.execute(PATIENT)
        for name, columns in INDEXES.items():
            if not is_valid(name):
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
                op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")
        op.execute(AS_BEFORE)


def downgrade() -> None:
    """Drop the indexes."""
    with op.get_context().autocommit_block():
        op.execute(PATIENT)
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(AS_BEFORE)


def is_valid(name: str) -> bool:
    """Return whether an earlier run has completed an index."""
    if context.is_offline_mode():
        return False
    found = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"
    return op.get_bind().scalar(text(found), {"name": name}) is True
