"""Story: take all tasks elsewhere."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from application.access import only_own_tasks
from application.pages import MAX_PAGE_SIZE, PageRequest
from application.ports import TaskRepository
from domain import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTasks:
    """Reads a user's whole list, whatever its length."""

    tasks: TaskRepository

    async def __call__(self, *, actor: str, user_id: str) -> AsyncGenerator[Task, None]:
        """Yield every task, newest first. One page is in memory at a time, and nothing of the storage is held.

        A task that is written meanwhile comes as it was at one moment; one that is created meanwhile may be left out.
        Raises NotOwner, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        request = PageRequest(limit=MAX_PAGE_SIZE)
        while True:
            page = await self.tasks.list(user_id, request)
            for task in page.tasks:
                yield task
            if page.next is None:
                return
            request = PageRequest(limit=MAX_PAGE_SIZE, after=page.next)
