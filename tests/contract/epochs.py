"""Epochs, which repositories choose at random."""

from adapters.memory import MemoryTaskRepository
from adapters.postgres import PostgresTaskRepository
from application import TaskRepository
from tests.contract.model import ModelRepository
from tests.sql import fetch


async def set_epochs(tasks: TaskRepository, epoch: int) -> None:
    """Set the epoch of all counters, as if a backup had been restored."""
    if isinstance(tasks, PostgresTaskRepository):
        await fetch(tasks._database, "UPDATE task_counters SET epoch = $1", epoch)
    elif isinstance(tasks, MemoryTaskRepository):
        for user in tasks._users.values():
            user.epoch = epoch if user.counter else user.epoch
    elif isinstance(tasks, ModelRepository):
        tasks.epochs = {user_id: epoch for user_id, number in tasks.counters.items() if number}
