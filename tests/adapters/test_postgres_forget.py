"""Forgetting a user while another process writes."""

import asyncio

import pytest

from adapters.postgres import Database, PostgresTaskRepository
from application import NOTHING
from hextasks.testing.contract.calls import state_of, walk
from tests.patience import until
from tests.torture.postgres import blocked_by

pytestmark = pytest.mark.database
BEGUN = "INSERT INTO task_counters (user_id, value) VALUES ('ada', 1)"
WRITE = """
    UPDATE task_counters SET value = value + 1 WHERE user_id = 'ada';
    INSERT INTO tasks (user_id, id, title, created_at, updated_at, version)
    SELECT user_id, gen_random_uuid(), 'x', now(), now(), value FROM task_counters WHERE user_id = 'ada'
"""


async def test_a_write_that_it_has_waited_for_keeps_the_counter(empty_database: Database) -> None:
    """The statement that deletes tasks does not see the new one, which is committed after its snapshot was taken."""
    tasks = PostgresTaskRepository(empty_database)
    async with empty_database.connection() as writer:
        await writer.execute(BEGUN)
        async with writer.transaction():
            await writer.execute(WRITE)
            forgetting = asyncio.create_task(tasks.forget("ada"))

            async def waits() -> bool:
                return await blocked_by(writer) > 0

            await until(waits)
    assert await forgetting == 1
    (written,) = await walk(tasks, "ada", 9)
    assert (await state_of(tasks)).number >= written.version
    assert [await tasks.forget("ada") for _ in range(3)] == [1, 1, 0]
    assert await state_of(tasks) == NOTHING
