"""Story: view all personal tasks."""

from dataclasses import dataclass

from application.access import only_own_tasks
from application.pages import PageRequest, TaskPage
from application.ports import TaskRepository
from application.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTasks:
    """Reads a user's list page by page, newest first."""

    tasks: TaskRepository

    async def __call__(
        self, *, actor: str, user_id: str, page: PageRequest | None = None, known: State | None = None
    ) -> TaskPage:
        """Return a page. If the user's state still is the `known` one, it has that state and no tasks.

        Raises NotOwner, TaskContended for a text, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        return await self.tasks.list(user_id, page or PageRequest(), known=known)
