"""Counters, which must not repeat a number: new epochs after a restored backup, first numbers of imported lists."""

import secrets
import time

from adapters.postgres.database import Database
from adapters.postgres.statement import Statement

BATCH = 1000
_MOVED = "value = value + (1::bigint << 32)"

_RENEW = Statement(
    name="epochs_renew",
    sql=f"""
    WITH batch AS (SELECT user_id FROM task_counters WHERE user_id > $1 ORDER BY user_id LIMIT $2)
    UPDATE task_counters SET
        epoch = 1 + (hashtextextended(task_counters.user_id, $3) & ((1::bigint << 47) - 1)), {_MOVED}
    FROM batch WHERE task_counters.user_id = batch.user_id
    RETURNING task_counters.user_id
    """,  # noqa: S608  # constants only
)
"""An update of distributed tables may call no random(), so the epochs are hashes with a random seed."""

RENEW_RESTORED = f"""
DO $$ DECLARE counters regclass; BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE relname = 'task_counters') THEN
        RAISE EXCEPTION 'the file is no backup of hextasks: it has no task_counters';
    END IF;
    FOR counters IN
        SELECT attrelid FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relname = 'task_counters' AND relkind IN ('r', 'p') AND attname = 'epoch'
    LOOP EXECUTE format('UPDATE %s SET epoch = DEFAULT, {_MOVED}', counters); END LOOP;
END $$
"""  # noqa: S608  # constants only
"""Renews the epochs of all users within a transaction that restores a backup. Raises an error without such a table.

It finds the table in any schema. Before revision 0003 there were no epochs, and that migration makes new ones.
"""


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


_BEGIN = Statement(
    name="counter_begin",
    parameters=("user_id", "value"),
    sql="INSERT INTO task_counters (user_id, value) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING",
)
WRITES_PER_SECOND = 2**20
"""More than a user ever makes; so numbers stay below 2**53, exact in every JSON parser, until the year 2242."""


async def begin_counter(database: Database, user_id: str) -> None:
    """Begin the counter of a user without one, above all numbers that another database may have given.

    For an import, whose tasks keep their ids: a client would take a version with a number that it knows for the content
    that it knows. Raises StorageUnavailable.
    """
    await database.fetch(_BEGIN, (user_id, int(time.time()) * WRITES_PER_SECOND))
