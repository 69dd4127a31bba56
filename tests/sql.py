"""Ad-hoc SQL for tests."""

import asyncio
import time
from typing import Any

from adapters.postgres import Executor, Statement

END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
"""Ends all other sessions of the database."""


async def fetch(database: Executor, sql: str, *arguments: Any, is_read: bool = False) -> list[Any]:
    """Run a statement as the repository runs its own, and return the rows."""
    return await database.fetch(Statement(name="test", sql=sql, is_read=is_read), arguments)


async def waits_for_a_lock(database: Executor) -> bool:
    """Return whether a session of the database waits for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await fetch(database, waiting))


async def cancel_after_preparation(database: Executor) -> None:
    """Cancel a statement that reads the tasks when it has been prepared, before it is executed."""
    await fetch(database, "SELECT 1")
    statement = asyncio.create_task(fetch(database, "SELECT count(*) FROM tasks"))
    await asyncio.sleep(0)  # it is sent to be prepared
    asyncio.get_running_loop().call_later(0.01, statement.cancel)
    time.sleep(0.3)  # noqa: ASYNC251  # so that response and cancellation are due in one iteration of the loop
    await asyncio.gather(statement, return_exceptions=True)
    assert statement.cancelled()
