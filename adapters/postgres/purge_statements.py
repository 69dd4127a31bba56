"""The statements that forget old deletions and idempotency keys, a bounded number at a time.

They are the only ones that work on rows of all users. They skip what is locked, so that they delay nothing and cannot
deadlock; what they skip is left to the next call.
"""

from adapters.postgres.statement import Statement

PURGE_REMOVALS = Statement(
    name="task_tombstones_purge",
    parameters=("removed_before", "limit"),
    sql="""
    WITH old AS (
        SELECT user_id, task_id, version FROM task_tombstones WHERE removed_at < $1 ORDER BY removed_at LIMIT $2
    ),
    floors AS (
        SELECT counter.user_id FROM task_counters AS counter
        WHERE counter.user_id IN (SELECT user_id FROM old)
        FOR UPDATE SKIP LOCKED
    ),
    raised AS (
        UPDATE task_counters AS counter SET purged_to = greatest(counter.purged_to, highest.version)
        FROM (SELECT user_id, max(version) AS version FROM old JOIN floors USING (user_id) GROUP BY user_id) AS highest
        WHERE counter.user_id = highest.user_id
        RETURNING counter.user_id
    ),
    gone AS (
        DELETE FROM task_tombstones AS tombstone USING old, raised
        WHERE old.user_id = raised.user_id
            AND (tombstone.user_id, tombstone.task_id, tombstone.version) = (old.user_id, old.task_id, old.version)
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
        SELECT user_id, key FROM idempotency_keys WHERE stored_at < $1 ORDER BY stored_at LIMIT $2
        FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        DELETE FROM idempotency_keys USING old
        WHERE (idempotency_keys.user_id, idempotency_keys.key) = (old.user_id, old.key)
        RETURNING 1
    )
    SELECT count(*) FROM gone
    """,
)
"""Returns how many are forgotten."""
