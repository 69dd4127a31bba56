"""New epochs, which a restored backup needs: the service would give again the numbers that it gave after the backup."""

import secrets

from adapters.postgres.database import Database
from adapters.postgres.statement import Statement

BATCH = 1000

_RENEW = Statement(
    name="epochs_renew",
    sql="""
    WITH batch AS (SELECT user_id FROM task_counters WHERE user_id > $1 ORDER BY user_id LIMIT $2)
    UPDATE task_counters SET
        epoch = 1 + (hashtextextended(task_counters.user_id, $3) & ((1::bigint << 47) - 1)),
        value = value + (1::bigint << 32)
    FROM batch WHERE task_counters.user_id = batch.user_id
    RETURNING task_counters.user_id
    """,
)
"""An update of distributed tables may call no random(), so the epochs are hashes with a random seed."""


async def renew_epochs(database: Database) -> int:
    """Give each user a new random epoch and move the counter forward, in batches; return the number of users.

    The counter moves by 2**32, beyond all numbers given since the backup, because they are the versions of tasks, which
    clients compare without an epoch. Safe to run again, also after a failure. Raises StorageUnavailable.
    """
    count, last, seed = 0, "", secrets.randbits(63)
    while rows := await database.fetch(_RENEW, (last, BATCH, seed)):
        count += len(rows)
        last = max(row["user_id"] for row in rows)
    return count
