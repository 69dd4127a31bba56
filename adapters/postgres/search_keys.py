"""The correction of stored search keys (`tasks.title_key`).

Tasks from before the column existed have none. Processes of an earlier version and SQL written by hand, which add and
rename tasks, leave the key as it is.
"""

from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg

from adapters.postgres.database import Database
from adapters.postgres.statement import Statement
from adapters.postgres.statements import title_key

# A batch is small enough for the time limit of a statement, even from a slow disk. The limit is a literal, because the
# planner expects a tenth of the table from a parameter. The last row of a batch is always returned: the next one begins
# after it.
_READ = Statement(
    name="search_keys_read",
    sql="""
    SELECT user_id, id, title, title_key
    FROM (
        SELECT user_id, id, title, title_key, lead(id) OVER (ORDER BY user_id, id) IS NULL AS is_last
        FROM (
            SELECT user_id, id, title, title_key FROM tasks
            WHERE (user_id, id) > ($1, $2) ORDER BY user_id, id LIMIT 2000
        ) AS batch
    ) AS batch
    WHERE is_last OR title_key IS NOT NULL OR octet_length(title) <> char_length(title)
    ORDER BY user_id, id
    """,
    is_read=True,
)
# A statement that holds the locks of some tasks and waits for another could deadlock with a write, and stop others. So
# the tasks that are locked are left out at first, and then written one by one.
_WRITE_UNLOCKED = Statement(
    name="search_keys_write",
    sql="""
    UPDATE tasks SET title_key = new.title_key
    FROM (
        SELECT stored.user_id, stored.id, new.title_key
        FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) AS new (user_id, id, title, title_key)
        JOIN tasks AS stored ON (stored.user_id, stored.id, stored.title) = (new.user_id, new.id, new.title)
        FOR NO KEY UPDATE OF stored SKIP LOCKED
    ) AS new
    WHERE (tasks.user_id, tasks.id) = (new.user_id, new.id)
    RETURNING tasks.user_id, tasks.id
    """,
)
_WRITE_ONE = Statement(
    name="search_keys_write_one",
    parameters=("user_id", "id", "title", "title_key"),
    sql="UPDATE tasks SET title_key = $4 WHERE user_id = $1 AND id = $2 AND title = $3 RETURNING user_id, id",
)


async def fill_search_keys(database: Database) -> int:
    """Correct the search keys of all tasks, in batches that are committed one by one; return how many were wrong.

    A task that is renamed meanwhile keeps the key of its new title. Versions and times stay. Raises StorageUnavailable.
    """
    corrected = 0
    last: tuple[str, UUID] = ("", UUID(int=0))
    while rows := await database.fetch(_READ, last):
        wrong = [(*row[:3], key) for row in rows if (key := title_key(row["title"])) != row["title_key"]]
        if wrong:
            written = await _write_unlocked(database, wrong)
            for row in wrong:
                if row[:2] not in written:
                    written |= {row[:2] for row in await database.fetch(_WRITE_ONE, row)}
            corrected += len(written)
        last = (rows[-1]["user_id"], rows[-1]["id"])
    return corrected


async def _write_unlocked(database: Database, rows: list[Any]) -> set[Any]:
    """Write what is not locked, and return the keys of those tasks; none on distributed tables, which cannot do so."""
    with suppress(asyncpg.FeatureNotSupportedError):
        return {row[:2] for row in await database.fetch(_WRITE_UNLOCKED, [*zip(*rows, strict=True)])}
    return set()
