"""Story: keep a copy of the list up to date."""

from dataclasses import dataclass

from application.access import only_own_tasks
from application.changes import ChangePage
from application.pages import MAX_PAGE_SIZE, check_limit
from application.ports import TaskRepository
from application.states import NOTHING, State


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChanges:
    """Reads the changes of a user's tasks page by page, in their order."""

    tasks: TaskRepository

    async def __call__(
        self, *, actor: str, user_id: str, since: State | None = None, limit: int = MAX_PAGE_SIZE
    ) -> ChangePage:
        """Return the changes since a state, or everything without one; pass `next` of each page to the next call.

        Raises NotOwner, InvalidPage when the limit is not from 1 to 500, StateExpired when everything has to be read
        again, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        check_limit(limit)
        return await self.tasks.changes(user_id, since=since or NOTHING, limit=limit)
