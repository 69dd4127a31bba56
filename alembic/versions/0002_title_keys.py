"""The search key of a title that is not ASCII. See `domain.search`.

It changes the catalogue only. The keys of earlier rows are filled in after the migrations.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
compatible_from = "0001"
branch_labels = None
depends_on = None

TRIGGER = """
    CREATE TRIGGER tasks_touch_updated_at BEFORE UPDATE ON tasks FOR EACH ROW
        WHEN (NEW.updated_at = OLD.updated_at AND NEW.version = OLD.version AND {is_changed})
        EXECUTE FUNCTION tasks_touch_updated_at()
"""
DROP_TRIGGER = "DROP TRIGGER tasks_touch_updated_at ON tasks"
# A key is derived from the title, so that a new one is no change of the task.
IS_CHANGED = """
    (NEW.user_id, NEW.id, NEW.title, NEW.created_at, NEW.completed_at)
    IS DISTINCT FROM (OLD.user_id, OLD.id, OLD.title, OLD.created_at, OLD.completed_at)
"""

UPGRADE = (
    "ALTER TABLE tasks ADD COLUMN title_key text",
    DROP_TRIGGER,
    TRIGGER.format(is_changed=IS_CHANGED),
)
DOWNGRADE = (
    DROP_TRIGGER,
    TRIGGER.format(is_changed="NEW IS DISTINCT FROM OLD"),
    "ALTER TABLE tasks DROP COLUMN title_key",
)


def upgrade() -> None:
    """Add the column, and exempt it from the trigger that moves `updated_at`."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop the column."""
    for statement in DOWNGRADE:
        op.execute(statement)
