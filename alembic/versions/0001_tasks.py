"""Tasks, the counter that numbers each user's changes, and the tombstones of deleted tasks.

Written as SQL and never edited once released: its meaning must not change when the code does.
"""

from alembic import op

revision = "0001"
down_revision = None
compatible_from = "0001"
branch_labels = None
depends_on = None

WHITE_SPACE = r"\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITE_SPACE += r"\u2028\u2029\u202f\u205f\u3000"
CONTROL = r"[\u0001-\u001f\u007f-\u009f]"
USER_ID_VALID = f"CHECK (char_length(user_id) BETWEEN 1 AND 255 AND user_id !~ '{CONTROL}')"

UPGRADE = (
    f"""
    CREATE TABLE task_counters (
        user_id text COLLATE "C" NOT NULL,
        value bigint NOT NULL,
        CONSTRAINT task_counters_pkey PRIMARY KEY (user_id),
        CONSTRAINT task_counters_user_id_valid {USER_ID_VALID},
        CONSTRAINT task_counters_value_positive CHECK (value >= 1)
    )
    """,
    f"""
    CREATE TABLE tasks (
        user_id text COLLATE "C" NOT NULL,
        id uuid NOT NULL,
        title text NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        completed_at timestamptz,
        version bigint NOT NULL,
        CONSTRAINT tasks_pkey PRIMARY KEY (user_id, id),
        CONSTRAINT tasks_user_id_valid {USER_ID_VALID},
        CONSTRAINT tasks_title_length CHECK (char_length(title) BETWEEN 1 AND 500),
        CONSTRAINT tasks_title_stripped CHECK (title = btrim(title, E'{WHITE_SPACE}')),
        CONSTRAINT tasks_title_no_control CHECK (title !~ '{CONTROL}'),
        CONSTRAINT tasks_completed_at_in_order CHECK (completed_at BETWEEN created_at AND updated_at),
        CONSTRAINT tasks_updated_at_in_order CHECK (updated_at >= created_at),
        CONSTRAINT tasks_version_positive CHECK (version >= 1)
    )
    """,
    "CREATE INDEX tasks_newest_first ON tasks (user_id, created_at, id)",
    "CREATE INDEX tasks_open_newest_first ON tasks (user_id, created_at, id) WHERE completed_at IS NULL",
    "CREATE INDEX tasks_completed_newest_first ON tasks (user_id, created_at, id) WHERE completed_at IS NOT NULL",
    f"""
    CREATE TABLE task_tombstones (
        user_id text COLLATE "C" NOT NULL,
        task_id uuid NOT NULL,
        version bigint NOT NULL,
        removed_at timestamptz NOT NULL,
        CONSTRAINT task_tombstones_pkey PRIMARY KEY (user_id, task_id, version),
        CONSTRAINT task_tombstones_user_id_valid {USER_ID_VALID}
    )
    """,
    """
    CREATE FUNCTION tasks_touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond', NEW.completed_at);
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER tasks_touch_updated_at BEFORE UPDATE ON tasks FOR EACH ROW
        WHEN (NEW.updated_at = OLD.updated_at AND NEW.version = OLD.version AND NEW IS DISTINCT FROM OLD)
        EXECUTE FUNCTION tasks_touch_updated_at()
    """,
)

DOWNGRADE = (
    "DROP TABLE task_tombstones",
    "DROP TABLE tasks",
    "DROP FUNCTION tasks_touch_updated_at()",
    "DROP TABLE task_counters",
)


def upgrade() -> None:
    """Create everything."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything."""
    for statement in DOWNGRADE:
        op.execute(statement)
