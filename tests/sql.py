"""Ad-hoc SQL for tests."""

from typing import Any

from adapters.postgres import Executor, Statement


async def fetch(database: Executor, sql: str, *arguments: Any, is_read: bool = False) -> list[Any]:
    """Run a statement as the repository runs its own, and return the rows."""
    return await database.fetch(Statement(name="test", sql=sql, is_read=is_read), arguments)


async def waits_for_a_lock(database: Executor) -> bool:
    """Return whether a session of the database waits for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await fetch(database, waiting))
