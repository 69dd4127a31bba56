"""Story: see changes as they happen."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, replace

from application.access import only_own_tasks
from application.changes import ChangePage
from application.errors import StorageUnavailable
from application.pages import check_limit
from application.ports import TaskRepository
from application.signal import ChangeSignal, Listener
from application.states import NOTHING, State

FOLLOW_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowChanges:
    """Follows the changes of a user's tasks without end."""

    tasks: TaskRepository
    signal: ChangeSignal

    async def __call__(
        self,
        *,
        actor: str,
        user_id: str,
        since: State | None = None,
        limit: int = FOLLOW_PAGE_SIZE,
        idle_seconds: float | None = None,
    ) -> AsyncGenerator[ChangePage, None]:
        """Yield pages of at most `limit` changes since a state, in their order, as soon as they can be read.

        The first page comes at once, even if it is empty; without `since` it is, and its `next` is the state now. Later
        ones come when there are changes: at once if the write published them on the same signal, within half a second
        if not. After `idle_seconds` without any, an empty page comes. A slow consumer receives fewer and larger pages:
        nothing is queued for it, and between two pages nothing of the storage is held.

        Close it, as `contextlib.aclosing` does. The first page raises NotOwner, InvalidPage and StorageUnavailable;
        later, an unavailable storage only delays. StateExpired is raised when everything has to be read again.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        check_limit(limit)
        with self.signal.listening(user_id, tasks=self.tasks) as listener:
            if since is None:
                state = (await self.tasks.states([user_id])).get(user_id, NOTHING)
                page = ChangePage(changes=(), next=state, has_more=False)
            else:
                page = await self.tasks.changes(user_id, since=since, limit=limit)
            listener.seen = page.next
            while True:
                yield page
                page = await self._page_after(page, listener, user_id, limit, idle_seconds)

    async def _page_after(
        self, page: ChangePage, listener: Listener, user_id: str, limit: int, idle_seconds: float | None
    ) -> ChangePage:
        """Return the changes after a page as soon as there are any, or an empty page after `idle_seconds`."""
        has_more, page = page.has_more, replace(page, changes=(), has_more=False)
        idle_at = None if idle_seconds is None else asyncio.get_running_loop().time() + idle_seconds
        while True:
            if not has_more and not await listener.wait(until=idle_at):
                return page
            has_more = False
            with suppress(StorageUnavailable):  # polling wakes the listener when the storage is available
                page = await self.tasks.changes(user_id, since=page.next, limit=limit)
                listener.seen = page.next
            if page.changes:
                return page
