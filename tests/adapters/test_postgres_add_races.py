"""An addition while another process removes the same task."""

import asyncio

import pytest

from adapters.postgres import Coalescing, Database, PostgresTaskRepository
from adapters.postgres.statements import REMOVE
from application import TaskAlreadyExists
from hextasks.testing.contract.calls import LATER, a_task, add, walk
from tests.patience import until
from tests.sql import waits_for_a_lock

pytestmark = pytest.mark.database


@pytest.mark.parametrize("coalescing", ["all", "user", "off", None])
@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_task_that_is_being_removed_is_not_added_again(
    empty_database: Database, coalescing: Coalescing | None, is_committed: bool
) -> None:
    tasks = PostgresTaskRepository(empty_database, coalescing=coalescing)
    task = await add(tasks, a_task())
    removal = {"user_id": "ada", "id": task.id, "version": None, "removed_at": LATER}
    async with empty_database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch(REMOVE.sql, *REMOVE.arguments(removal))
        adding = asyncio.create_task(tasks.add(a_task(id=task.id)))

        async def is_judged() -> bool:
            return adding.done() or await waits_for_a_lock(empty_database)

        await until(is_judged)
        await (transaction.commit() if is_committed else transaction.rollback())
    with pytest.raises(TaskAlreadyExists):
        await adding
    assert await walk(tasks, "ada", 9) == ([] if is_committed else [task])
