"""The statements that forget old deletions and idempotency keys, a bounded number at a time.

They are the only ones that work on rows of all users. They skip what is locked, so that they delay nothing and cannot
deadlock; what they skip is left to the next call.

The planner does not know the limit, and expects a tenth of the table. So counters are found through their key by
construction (LATERAL, ON CONFLICT), and rows, which never change, are deleted where they were read (ctid).

Tables that are distributed over several nodes have neither: there, what is old is read from all shards, and deleted by
a statement for each user, which one shard carries out.
"""

from collections import defaultdict
from datetime import datetime

import asyncpg

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

_OLD_REMOVALS = Statement(
    name="task_tombstones_old",
    parameters=("removed_before", "limit"),
    sql="SELECT user_id, version FROM task_tombstones WHERE removed_at < $1 ORDER BY removed_at LIMIT $2",
    is_read=True,
)
_OLD_KEYS = Statement(
    name="idempotency_keys_old",
    parameters=("keys_before", "limit"),
    sql="SELECT user_id, key FROM idempotency_keys WHERE stored_at < $1 ORDER BY stored_at LIMIT $2",
    is_read=True,
)
_PURGE_REMOVALS_OF_USER = Statement(
    name="task_tombstones_purge_user",
    parameters=("user_id", "highest", "versions"),
    sql="""
    WITH counter AS (SELECT value FROM task_counters WHERE user_id = $1 FOR UPDATE SKIP LOCKED),
    raised AS (
        UPDATE task_counters SET purged_to = greatest(purged_to, $2) FROM counter WHERE user_id = $1 RETURNING 1
    ),
    gone AS (
        DELETE FROM task_tombstones
        WHERE user_id = $1 AND version = ANY ($3::bigint[]) AND EXISTS (SELECT FROM raised)
        RETURNING 1
    )
    SELECT count(*) FROM gone
    """,
)
_PURGE_KEYS_OF_USER = Statement(
    name="idempotency_keys_purge_user",
    parameters=("user_id", "keys", "keys_before"),
    sql="""
    WITH gone AS (
        DELETE FROM idempotency_keys WHERE user_id = $1 AND key = ANY ($2::text[]) AND stored_at < $3 RETURNING 1
    )
    SELECT count(*) FROM gone
    """,
)
"""Leaves a key that was purged by another process since it was read, and stored again by the user."""


async def purge(database: Executor, *, removed_before: datetime, keys_before: datetime, limit: int) -> int:
    """Purge at most `limit` of each kind, and return how many. Raises StorageUnavailable."""
    try:
        removals = await database.fetch(PURGE_REMOVALS, (removed_before, limit))
        keys = await database.fetch(PURGE_KEYS, (keys_before, limit))
    except asyncpg.FeatureNotSupportedError:  # the tables are distributed
        return await _purge_users(database, removed_before, keys_before, limit)
    return int(removals[0][0] + keys[0][0])


async def _purge_users(database: Executor, removed_before: datetime, keys_before: datetime, limit: int) -> int:
    versions, keys = defaultdict[str, list[int]](list), defaultdict[str, list[str]](list)
    for user_id, version in await database.fetch(_OLD_REMOVALS, (removed_before, limit)):
        versions[user_id].append(version)
    for user_id, key in await database.fetch(_OLD_KEYS, (keys_before, limit)):
        keys[user_id].append(key)
    count = 0
    for user_id, old in versions.items():
        count += (await database.fetch(_PURGE_REMOVALS_OF_USER, (user_id, max(old), old)))[0][0]
    for user_id, used in keys.items():
        count += (await database.fetch(_PURGE_KEYS_OF_USER, (user_id, used, keys_before)))[0][0]
    return count
