"""The epoch of each user's counter, the highest number of a purged tombstone, and idempotency keys.

It changes the catalogue only. It locks one table of those that exist: a second one, for which it would have to wait,
might be locked by a statement that waits for the first.
"""

import secrets

from alembic import op

revision = "0003"
down_revision = "0002"
compatible_from = "0001"
branch_labels = None
depends_on = None

CONTROL = r"[\u0001-\u001f\u007f-\u009f]"
EPOCHS = 2**48
"""0 is not one of them: it stands for a user without a counter."""


def upgrade() -> None:
    """Add the columns and the table."""
    # A constant default rewrites no row. Rows that exist share one epoch, which is as good, because a number and an
    # epoch are compared with those of the same user only.
    epoch = 1 + secrets.randbelow(EPOCHS - 1)
    op.execute(
        f"""
        ALTER TABLE task_counters
            ADD COLUMN epoch bigint NOT NULL DEFAULT {epoch},
            ADD COLUMN purged_to bigint NOT NULL DEFAULT 0
        """
    )
    op.execute(f"ALTER TABLE task_counters ALTER COLUMN epoch SET DEFAULT (1 + random() * {EPOCHS - 2})::bigint")
    op.execute(
        f"""
        CREATE TABLE idempotency_keys (
            user_id text COLLATE "C" NOT NULL,
            key text COLLATE "C" NOT NULL,
            fingerprint bytea NOT NULL,
            number bigint NOT NULL,
            epoch bigint NOT NULL,
            result text NOT NULL,
            stored_at timestamptz NOT NULL,
            CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
            CONSTRAINT idempotency_keys_user_id_valid
                CHECK (char_length(user_id) BETWEEN 1 AND 255 AND user_id !~ '{CONTROL}')
        )
        """
    )
    op.execute("CREATE INDEX idempotency_keys_by_age ON idempotency_keys (stored_at)")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE idempotency_keys")
    op.execute("ALTER TABLE task_counters DROP COLUMN epoch, DROP COLUMN purged_to")
