"""The library without a service: its import, the memory adapter, and the same steps on a plain dict of dataclasses."""

import random
import subprocess
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from statistics import median
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import (
    CompleteTask,
    CreateTask,
    DeleteTask,
    GetTask,
    ListTasks,
    PageRequest,
    Position,
    TaskPage,
    UpdateTask,
)
from domain import Task, TaskChange, TaskDraft
from tests.benchmarks.flat import BOUND, OPEN_IN_SMALL, PAGE, Flatness, compared, in_turn

IMPORT = "import time; began = time.perf_counter(); import application; print(time.perf_counter() - began)"
USER = "ada"
NO_ID = UUID(int=0)
T = TypeVar("T")


def import_milliseconds(times: int = 7) -> float:
    """Return how long a fresh process takes to import `application`; the median of some."""
    runs = [subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True) for _ in range(times)]
    return median(float(run.stdout) for run in runs) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTask:
    """A task without the library's checks."""

    user_id: str
    id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRemoval:
    """A deletion, which clients that keep a copy have to learn of."""

    id: UUID
    version: int
    removed_at: datetime


class PlainTasks:
    """The six stories on a dict, with nothing checked."""

    def __init__(self) -> None:
        self.tasks: dict[UUID, PlainTask] = {}
        self.removals: dict[UUID, PlainRemoval] = {}

    async def create(self, _: UUID) -> PlainTask:
        now = datetime.now(UTC)
        task = PlainTask(
            user_id=USER, id=uuid4(), title="Buy milk", created_at=now, updated_at=now, completed_at=None, version=1
        )
        self.tasks[task.id] = task
        return task

    async def get(self, task_id: UUID) -> PlainTask:
        return self.tasks[task_id]

    async def list(self, _: UUID) -> "list[PlainTask]":
        return list(islice(reversed(self.tasks.values()), 50))

    async def update(self, task_id: UUID) -> PlainTask:
        task = self.tasks[task_id]
        self.tasks[task_id] = replace(
            task, title=f"Buy milk {task.version}", updated_at=datetime.now(UTC), version=task.version + 1
        )
        return self.tasks[task_id]

    async def complete(self, task_id: UUID) -> PlainTask:
        task, now = self.tasks[task_id], datetime.now(UTC)
        self.tasks[task_id] = replace(task, completed_at=now, updated_at=now, version=task.version + 1)
        return self.tasks[task_id]

    async def delete(self, task_id: UUID) -> None:
        task = self.tasks.pop(task_id)
        self.removals[task_id] = PlainRemoval(id=task_id, version=task.version + 1, removed_at=datetime.now(UTC))


class Stories:
    """The same calls, by the use-cases on the memory adapter."""

    def __init__(self) -> None:
        self._who: dict[str, Any] = {"actor": USER, "user_id": USER}
        tasks, clock = MemoryTaskRepository(), SystemClock()
        self._create = CreateTask(tasks=tasks, clock=clock, ids=Uuid7Ids())
        self._get, self._list = GetTask(tasks=tasks), ListTasks(tasks=tasks)
        self._update, self._complete = UpdateTask(tasks=tasks, clock=clock), CompleteTask(tasks=tasks, clock=clock)
        self._delete = DeleteTask(tasks=tasks, clock=clock)

    async def create(self, _: UUID) -> Task:
        return (await self._create(**self._who, draft=TaskDraft(title="Buy milk"))).task

    async def get(self, task_id: UUID) -> Task:
        return await self._get(**self._who, task_id=task_id)

    async def list(self, _: UUID, page: PageRequest | None = None) -> TaskPage:
        return await self._list(**self._who, page=page)

    async def update(self, task_id: UUID) -> Task:
        change = TaskChange(title=f"Buy milk {time.perf_counter_ns()}")
        return (await self._update(**self._who, task_id=task_id, change=change)).task

    async def complete(self, task_id: UUID) -> Task:
        return (await self._complete(**self._who, task_id=task_id)).task

    async def reopen(self, task_id: UUID) -> Task:
        return (await self._update(**self._who, task_id=task_id, change=TaskChange(is_completed=False))).task

    async def delete(self, task_id: UUID) -> None:
        await self._delete(**self._who, task_id=task_id)


def use_cases_beside_a_dict(rounds: int = 20) -> dict[str, tuple[float, float]]:
    """Return the processor time in seconds that each story takes on a plain dict and by the use-cases; medians."""
    stories = ("create", "get", "list", "update", "complete", "delete")
    times: dict[str, tuple[list[float], list[float]]] = {story: ([], []) for story in stories}
    for _ in range(rounds):
        both: tuple[Any, ...] = (PlainTasks(), Stories())
        for place, tasks in enumerate(both):
            ids = [_run(tasks.create(NO_ID)).id for _ in range(100)]
            for story in stories:
                call = getattr(tasks, story)
                began = time.process_time()
                for task_id in ids:
                    _run(call(task_id))
                times[story][place].append((time.process_time() - began) / len(ids))
    return {story: (median(plain), median(ours)) for story, (plain, ours) in times.items()}


class MemoryTable:
    """A user's tasks in the memory adapter, measured like those in a table."""

    def __init__(self, tasks: int, *, open_each: int) -> None:
        self._stories = Stories()
        self._ids = [_run(self._stories.create(NO_ID)).id for _ in range(tasks)]
        self._open = self._ids[::open_each][:OPEN_IN_SMALL]
        for task_id in set(self._ids).difference(self._ids[::open_each] if open_each > 1 else self._open):
            _run(self._stories.complete(task_id))
        self._last = Position.of(_run(self._stories.get(self._ids[PAGE])))

    def first_page(self) -> float:
        return _seconds(self._stories.list(NO_ID))

    def last_page(self) -> float:
        return _seconds(self._stories.list(NO_ID, PageRequest(after=self._last)))

    def open_page(self) -> float:
        return _seconds(self._stories.list(NO_ID, PageRequest(completed=False)))

    def get(self) -> float:
        return _seconds(self._stories.get(_requested(self._ids)))

    def complete(self) -> float:
        task_id = random.choice(self._open)
        seconds = _seconds(self._stories.complete(task_id))
        _run(self._stories.reopen(task_id))
        return seconds

    def create(self) -> float:
        return _seconds(self._stories.create(NO_ID))


class PlainTable:
    """As many tasks in a plain dict, of which a get shows what the processor's caches cost."""

    def __init__(self, tasks: int) -> None:
        self._stories = PlainTasks()
        self._ids = [_run(self._stories.create(NO_ID)).id for _ in range(tasks)]

    def get(self) -> float:
        return _seconds(self._stories.get(_requested(self._ids)))


def memory_flatness(tasks: int, calls: int = 500) -> list[Flatness]:
    """Compare a user of some tasks, of which 100 are open or 0.1 %, with one of 100.

    The entries of a large dict are in no cache, so a get from a plain dict takes about twice as long in the large one.
    A get is bound by the ratio of that one.
    """
    found = compared(MemoryTable(100, open_each=1), MemoryTable(tasks, open_each=min(1000, tasks // 100)), calls)
    plain = in_turn("get from a plain dict", PlainTable(100).get, PlainTable(tasks).get, calls)
    place, get = next((place, it) for place, it in enumerate(found) if it.call == "get")
    found[place : place + 1] = [replace(get, bound=max(BOUND, plain.ratio)), replace(plain, bound=None)]
    return found


def _requested(ids: list[UUID]) -> UUID:
    """Return one of the ids as a request brings it: an object of its own, which no adapter keeps."""
    return UUID(int=random.choice(ids).int)


def _run(story: Coroutine[Any, Any, T]) -> T:
    """Return the result of a story, which on the memory adapter never waits."""
    try:
        story.send(None)
    except StopIteration as ended:
        return cast("T", ended.value)
    raise RuntimeError("the story waits")


def _seconds(story: Coroutine[Any, Any, object]) -> float:
    began = time.perf_counter()
    _run(story)
    return time.perf_counter() - began
