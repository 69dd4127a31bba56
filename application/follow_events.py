"""Story: tell another service what happens to tasks."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass, replace
from uuid import UUID

from application.changes import Removal
from application.errors import StateExpired, StorageUnavailable
from application.events import Progress, TaskEvent
from application.pages import MAX_PAGE_SIZE
from application.ports import TaskRepository
from application.positions import PositionStore
from application.signal import POLL_SECONDS, ChangeSignal
from application.states import NOTHING, State
from domain import Task
from domain.rules import USER_ID

USERS_PER_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowEvents:
    """Follows what happens to the tasks of all users, or of some. For services, not for users: there is no actor."""

    tasks: TaskRepository
    signal: ChangeSignal

    async def __call__(
        self,
        positions: PositionStore,
        *,
        user_ids: Collection[str] | None = None,
        wait: bool = True,
        poll_seconds: float = POLL_SECONDS,
    ) -> AsyncGenerator[TaskEvent, None]:
        """Yield events since the positions, at first from the beginning; each at least once, over crashes and restarts.

        An event counts as delivered when the next one is asked for. One that was received last before the loop was
        left, by `break`, an error or a crash, comes first the next time, equal in every field; a consumer that must not
        act twice notes the event's `id`. With `wait=False` the events end, the last one delivered, when there are no
        more.

        The events of one user come in the order of their numbers. They are derived from the state of the tasks, so a
        follower that looks late receives fewer. A task that was created and completed meanwhile gives both events, one
        that was created and deleted gives none, one that was renamed twice gives one. Where changes are not known
        completely, after a restored backup or an absence longer than deletions are kept, all tasks of the user are
        compared with what was seen, so that no deletion is missed; that takes memory for them all.

        Writes of the same process (and signal) are noticed at once, those of others by a look at the states of all
        users: one query for 1000 users, with a pause of `poll_seconds` after each look. Between two events nothing of
        the storage is held.

        The first look raises StorageUnavailable, as does any with `wait=False`; later it only delays. Raises
        InvalidText for the id of a user, and what the position store raises.
        """
        wanted = None if user_ids is None else sorted({*user_ids})
        for user_id in wanted or ():
            USER_ID.check(user_id)
        loop = asyncio.get_running_loop()
        with self.signal.listening_to_writes() as writes:
            may_fail, look_at = False, wanted
            while True:
                try:
                    async with aclosing(self._records(positions, look_at)) as records:
                        async for _ in records:
                            for event in await positions.pending():
                                yield event
                                await positions.delivered(event)
                    may_fail = wait
                except StorageUnavailable:
                    if not may_fail:
                        raise
                if not wait:
                    return
                if look_at is wanted:
                    next_look = loop.time() + poll_seconds
                written = await writes.wait(until=next_look)
                look_at = wanted if loop.time() >= next_look else _of(written, wanted)

    async def _records(self, positions: PositionStore, wanted: list[str] | None) -> AsyncGenerator[None, None]:
        """Yield at first, and whenever something was recorded."""
        yield
        async with aclosing(self._changed(positions, wanted)) as changed:
            async for user_id, since in changed:
                has_more = True
                while has_more:
                    progress, has_more = await self._progress(positions, user_id, since)
                    await positions.record(progress)
                    yield
                    since = progress.state

    async def _changed(
        self, positions: PositionStore, wanted: list[str] | None
    ) -> AsyncGenerator[tuple[str, State], None]:
        """Yield the users whose state is not the recorded one, which is the second value."""
        after, has_more = "", True
        while has_more:
            if wanted is None:
                now = await self.tasks.all_states(after=after, limit=USERS_PER_PAGE)
                has_more = len(now) == USERS_PER_PAGE
                last = max(now) if has_more else None
                # Users whom a restored backup does not contain have a recorded state only.
                known = await positions.states({*now, *await positions.users(after=after, until=last)})
                after = last or ""
            else:
                page, wanted = wanted[:USERS_PER_PAGE], wanted[USERS_PER_PAGE:]
                has_more = bool(wanted)
                now, known = await self.tasks.states(page), await positions.states(page)
            for user_id in sorted({*now, *known}):
                since = known.get(user_id, NOTHING)
                if since != now.get(user_id, NOTHING):
                    yield user_id, since

    async def _progress(self, positions: PositionStore, user_id: str, since: State) -> tuple[Progress, bool]:
        """Read changes after a state and derive events. The second value says whether there are more."""
        try:
            page = await self.tasks.changes(user_id, since=since, limit=MAX_PAGE_SIZE)
        except StateExpired:
            return await self._compared(positions, user_id, since), False
        seen = await positions.seen(user_id, [change.id for change in page.changes])
        return Progress.derived(page.changes, seen, user_id=user_id, state=page.next), page.has_more

    async def _compared(self, positions: PositionStore, user_id: str, since: State) -> Progress:
        """Read all tasks of a user, and compare them with all that were seen.

        When they changed is not known in part, so all events have the number of the state that was read. It is greater
        than the numbers of earlier events of the same epoch.
        """
        tasks: dict[UUID, Task] = {}
        state, has_more = NOTHING, True
        while has_more:
            try:
                page = await self.tasks.changes(user_id, since=state, limit=MAX_PAGE_SIZE)
            except StateExpired:
                tasks, state = {}, NOTHING
                continue
            for change in page.changes:
                tasks.pop(change.id, None)
                if isinstance(change, Task):
                    tasks[change.id] = change
            state, has_more = page.next, page.has_more
        seen = await positions.seen(user_id, None)
        gone = [Removal(id=task_id, version=state.number) for task_id in seen if task_id not in tasks]
        at = replace(since, number=since.number + 1) if state == NOTHING else state
        return Progress.derived([*tasks.values(), *gone], seen, user_id=user_id, state=state, at=at)


def _of(written: set[str], wanted: list[str] | None) -> list[str]:
    """Return the users who are wanted."""
    return sorted(written) if wanted is None else [user_id for user_id in wanted if user_id in written]
