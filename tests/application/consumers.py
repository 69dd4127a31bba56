"""A consumer of events that keeps a copy of all lists."""

from datetime import timedelta
from uuid import UUID

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.positions import MemoryPositions
from application import (
    SeenTask,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskRenamed,
    TaskReopened,
    TaskRepository,
    Tasks,
)
from hextasks.testing.contract.calls import walk

Copy = dict[str, dict[UUID, SeenTask]]


class Consumer:
    """Applies each event once, by its id, and checks that it is possible and in order."""

    def __init__(self) -> None:
        self.copy: Copy = {}
        self.events: dict[tuple[str, str], TaskEvent] = {}
        self._last: dict[tuple[str, int], tuple[int, int]] = {}
        self.repeated = 0

    def note(self, event: TaskEvent) -> None:
        key = event.user_id, event.id
        if key in self.events:
            assert self.events[key] == event, "a repeated event is the same"
            self.repeated += 1
            return
        self.events[key] = event
        place = event.version, event.part
        assert place > self._last.get((event.user_id, event.epoch), (-1, -1))
        self._last[event.user_id, event.epoch] = place
        self._apply(event)

    def _apply(self, event: TaskEvent) -> None:
        tasks = self.copy.setdefault(event.user_id, {})
        before = tasks.get(event.task_id)
        if isinstance(event, TaskCreated):
            assert before is None
            tasks[event.task_id] = SeenTask(title=event.title, is_completed=False)
            return
        assert before
        if isinstance(event, TaskDeleted):
            assert (event.title, event.at) == (before.title, None)
            del tasks[event.task_id]
            return
        assert event.at
        if isinstance(event, TaskRenamed):
            assert event.title != event.old_title == before.title
        else:
            assert event.title == before.title
            assert isinstance(event, TaskReopened if before.is_completed else TaskCompleted)
        is_completed = isinstance(event, TaskCompleted) or (before.is_completed and not isinstance(event, TaskReopened))
        tasks[event.task_id] = SeenTask(title=event.title, is_completed=is_completed)


async def lists(tasks: TaskRepository, users: set[str]) -> Copy:
    """Return what a true copy contains."""
    copy = {user: await walk(tasks, user, 500) for user in users}
    return {
        user: {task.id: SeenTask(title=task.title, is_completed=task.is_completed) for task in found}
        for user, found in copy.items()
        if found
    }


def without_empty(copy: Copy) -> Copy:
    return {user: tasks for user, tasks in copy.items() if tasks}


def use_cases(repository: TaskRepository) -> Tasks:
    """Return the use-cases of a process; those of two processes share no signal."""
    return Tasks.on(repository, clock=SystemClock(), ids=Uuid7Ids(), keep_removals=timedelta(days=-1))


async def rest(tasks: Tasks, positions: MemoryPositions) -> list[TaskEvent]:
    return [event async for event in tasks.follow(positions, wait=False)]


def told(events: list[TaskEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.title) for event in events]
