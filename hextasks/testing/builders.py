"""Tasks, drafts and filled lists, with values where a test does not care."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from hextasks import MemoryTaskRepository, Task, TaskChange, TaskDraft, TaskIds, TaskRepository, Tasks, Uuid7Ids
from hextasks.testing.clock import START, ManualClock, SequentialIds

TITLE = "Buy milk"
USER = "ada"
NOW = START
_new_id = Uuid7Ids().new


def a_draft(title: str = TITLE) -> TaskDraft:
    """Return the input for a new task. Raises InvalidText."""
    return TaskDraft(title=title)


def a_task(
    title: str = TITLE, *, user_id: str = USER, now: datetime = NOW, id: UUID | None = None, is_completed: bool = False
) -> Task:
    """Return a task that is not stored, created at `now`, by default with an id of its own. Raises InvalidText."""
    task = Task.create(a_draft(title), id=id or _new_id(), user_id=user_id, now=now)
    return task.apply(TaskChange(is_completed=True), now=now) if is_completed else task


def memory_tasks(
    *, repository: TaskRepository | None = None, clock: ManualClock | None = None, ids: TaskIds | None = None
) -> Tasks:
    """Return the use-cases on a new repository in memory, with a clock that stands still and ids in sequence."""
    return Tasks.on(repository or MemoryTaskRepository(), clock=clock or ManualClock(), ids=ids or SequentialIds())


class Builder:
    """Builds tasks with a clock and ids, those of the use-cases that a test calls."""

    def __init__(self, clock: ManualClock | None = None, ids: TaskIds | None = None) -> None:
        """Take a clock and ids, or make them."""
        self.clock = clock or ManualClock()
        self.ids = ids or SequentialIds()

    def draft(self, title: str = TITLE) -> TaskDraft:
        """Return the input for a new task. Raises InvalidText."""
        return a_draft(title)

    def task(self, title: str = TITLE, *, user_id: str = USER, is_completed: bool = False) -> Task:
        """Return a task that is not stored, created now. Raises InvalidText."""
        return a_task(title, user_id=user_id, now=self.clock.now(), id=self.ids.new(), is_completed=is_completed)

    async def fill(
        self, tasks: Tasks, titles: int | Iterable[str] = 3, *, user_id: str = USER, completed: int = 0
    ) -> list[Task]:
        """Create tasks with these titles, or so many, a second apart, and return them, the first one first.

        The first `completed` of them are completed.
        """
        of_user = tasks.of(user_id)
        made = []
        for place, title in enumerate([f"Task {n + 1}" for n in range(titles)] if isinstance(titles, int) else titles):
            task = (await of_user.create(title)).task
            made.append((await of_user.complete(task.id)).task if place < completed else task)
            self.clock.step()
        return made
