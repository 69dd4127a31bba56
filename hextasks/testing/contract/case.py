"""What all parts of the contract have in common."""

from typing import ClassVar

import pytest

from hextasks import TaskRepository

optional = pytest.mark.hextasks_optional
"""Marks tests of what an adapter may leave out."""


@pytest.mark.asyncio
class RepositoryCase:
    """The base of the contract. Its tests ask for the fixture `tasks`, a repository without tasks."""

    restores_backups: ClassVar[bool] = False
    """Whether `set_epochs` is implemented. Otherwise the tests marked `hextasks_optional` are skipped."""

    async def set_epochs(self, tasks: TaskRepository, epoch: int) -> None:
        """Give the counters of all users this epoch, as the operator does after a restored backup."""
        raise NotImplementedError

    async def restore_backup(self, tasks: TaskRepository, epoch: int) -> None:
        """Set epochs, or skip the test."""
        if not self.restores_backups:
            pytest.skip("the adapter does not implement set_epochs")
        await self.set_epochs(tasks, epoch)
