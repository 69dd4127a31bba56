"""The statements that delete all that is kept of a user, a bounded number of rows at a time."""

from secrets import randbelow

from adapters.postgres.executor import Executor
from adapters.postgres.statement import Statement

FORGET_ROWS = 1000
"""Rows of each table that one statement deletes."""
MAX_EPOCH = 2**48 - 1

FORGET = Statement(
    name="user_forget",
    parameters=("user_id", "epoch", "limit"),
    sql="""
    WITH seen AS (SELECT value FROM task_counters WHERE user_id = $1),
    counter AS (
        UPDATE task_counters SET epoch = $2, value = value + 1 WHERE user_id = $1 RETURNING epoch
    ),
    gone_tasks AS (
        DELETE FROM tasks WHERE user_id = $1 AND (SELECT count(*) FROM counter) >= 0
            AND id = ANY (ARRAY(SELECT id FROM tasks WHERE user_id = $1 LIMIT $3))
        RETURNING 1
    ),
    gone_removals AS (
        DELETE FROM task_tombstones WHERE user_id = $1 AND (SELECT count(*) FROM counter) >= 0
            AND version = ANY (ARRAY(SELECT version FROM task_tombstones WHERE user_id = $1 LIMIT $3))
        RETURNING 1
    ),
    gone_keys AS (
        DELETE FROM idempotency_keys WHERE user_id = $1 AND (SELECT count(*) FROM counter) >= 0
            AND key = ANY (ARRAY(SELECT key FROM idempotency_keys WHERE user_id = $1 LIMIT $3))
        RETURNING 1
    ),
    permitted AS (DELETE FROM task_counters WHERE user_id = $1 AND value < 0)
    SELECT
        (SELECT count(*) FROM gone_tasks) + (SELECT count(*) FROM gone_removals) + (SELECT count(*) FROM gone_keys),
        (SELECT value + 1 FROM seen)
    """,
)
"""Gives the user a new epoch, so that all states expire, and deletes rows.

`permitted` deletes no row. With it the statement fails for a role that may not delete the counter at the end.
The count of counters, which is never negative, has the counter locked before any row, as every write does. Returns the
number of rows, and the value that the counter has now if nobody has written since the statement began; NULL without a
counter.
"""

FORGET_COUNTER = Statement(
    name="user_forget_counter",
    parameters=("user_id", "epoch", "value"),
    sql="DELETE FROM task_counters WHERE user_id = $1 AND epoch = $2 AND value = $3",
)
"""Deletes the counter after a FORGET that has deleted nothing, unless there were writes during it or after it."""


async def forget(database: Executor, user_id: str) -> int:
    """Delete a part of what is kept of a user, and return how many rows; 0 when nothing is left."""
    epoch = 1 + randbelow(MAX_EPOCH)
    ((count, value),) = await database.fetch(FORGET, (user_id, epoch, FORGET_ROWS))
    if count or value is None:
        return int(count)
    await database.fetch(FORGET_COUNTER, (user_id, epoch, value))
    return 1
