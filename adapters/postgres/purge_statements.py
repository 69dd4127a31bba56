"""The statements that forget old deletions and idempotency keys, a bounded number at a time.

They are the only ones that work on rows of all users. They skip what is locked, so that they delay nothing and cannot
deadlock; what they skip is left to the next call.

The planner does not know the limit, and expects a tenth of the table. So counters are found through their key by
construction (LATERAL, ON CONFLICT), and rows, which never change, are deleted where they were read (ctid).
"""

from datetime import datetime

from adapters.postgres.executor import Executor
from adapters.postgres.statement import Statement

PURGE_REMOVALS = Statement(
    name="task_tombstones_purge",
    parameters=("removed_before", "limit"),
    sql="""
    WITH old AS (
        SELECT ctid, user_id, version FROM task_tombstones WHERE removed_at < $1 ORDER BY removed_at LIMIT $2
    ),
    highest AS (SELECT user_id, max(version) AS version FROM old GROUP BY user_id),
    floors AS (
        SELECT highest.user_id, counter.value, highest.version FROM highest, LATERAL (
            SELECT value FROM task_counters WHERE user_id = highest.user_id FOR UPDATE SKIP LOCKED
        ) AS counter
    ),
    raised AS (
        INSERT INTO task_counters (user_id, value, purged_to) SELECT * FROM floors
        ON CONFLICT (user_id) DO UPDATE SET purged_to = greatest(task_counters.purged_to, excluded.purged_to)
    ),
    gone AS (
        DELETE FROM task_tombstones WHERE ctid = ANY (ARRAY(SELECT old.ctid FROM old JOIN floors USING (user_id)))
        RETURNING 1
    )
    SELECT count(*) FROM gone
    """,
)
"""Raises the floor of each user to the highest number that is forgotten, and returns how many are."""

PURGE_KEYS = Statement(
    name="idempotency_keys_purge",
    parameters=("keys_before", "limit"),
    sql="""
    WITH old AS (
        SELECT ctid FROM idempotency_keys WHERE stored_at < $1 ORDER BY stored_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM old))
        RETURNING 1
    )
    SELECT count(*) FROM gone
    """,
)
"""Returns how many are forgotten."""


async def purge(database: Executor, removed_before: datetime, keys_before: datetime, limit: int) -> int:
    """Forget old deletions and keys, up to `limit` of each, and return how many."""
    removals = await database.fetch(PURGE_REMOVALS, (removed_before, limit))
    keys = await database.fetch(PURGE_KEYS, (keys_before, limit))
    return int(removals[0][0] + keys[0][0])
