"""A copy of a user's list, kept by following the feed of changes."""

import random
from uuid import UUID

from hextasks import NOTHING, Change, ChangePage, StateExpired, Task, TaskRepository


class Replica:
    """A copy of a user's list. Checks each page, and starts again when its state has expired."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.tasks: dict[UUID, Task] = {}
        self.state = NOTHING
        self.restarts = 0

    async def follow(self, tasks: TaskRepository, limit: int) -> ChangePage:
        """Read one page."""
        try:
            page = await tasks.changes(self.user, since=self.state, limit=limit)
        except StateExpired:
            assert self.state != NOTHING, "there is always a beginning"
            self.tasks, self.state = {}, NOTHING
            self.restarts += 1
            page = await tasks.changes(self.user, since=NOTHING, limit=limit)
        numbers = [change.version for change in page.changes]
        assert numbers == sorted({*numbers})
        assert all(number > self.state.number for number in numbers)
        assert page.next.number >= max(numbers, default=0)
        for change in page.changes:
            self.note(change)
        self.state = page.next
        return page

    def note(self, change: Change) -> None:
        if isinstance(change, Task):
            self.tasks[change.id] = change
        else:
            self.tasks.pop(change.id, None)

    async def catch_up(self, tasks: TaskRepository, chance: random.Random) -> None:
        """Read pages of random sizes until the last one."""
        while (await self.follow(tasks, chance.choice([1, 2, 3, 5, 500]))).has_more:
            pass
