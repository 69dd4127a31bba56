"""One user's tasks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from secrets import randbits
from uuid import UUID

from adapters.memory.change_log import ChangeLog
from adapters.memory.ordered import OrderedPlaces, place_of
from application import NOTHING, Applied, ChangePage, Once, PageRequest, State, TaskPage
from application.changes import began, check_since
from domain import Task, search_key

_ID_BITS = (1 << 128) - 1


@dataclass(slots=True)
class UserTasks:
    """One user's tasks, their order for each filter, their changes, and the user's counter and keys."""

    by_id: dict[int, Task] = field(default_factory=dict)
    """By the number of their UUID, which is hashed and compared in C."""
    all: OrderedPlaces = field(default_factory=OrderedPlaces)
    # One list per filter, so that no page scans tasks of another state.
    by_state: dict[bool, OrderedPlaces] = field(default_factory=lambda: {True: OrderedPlaces(), False: OrderedPlaces()})
    log: ChangeLog = field(default_factory=ChangeLog)
    keys: dict[str, tuple[datetime, Once, Applied]] = field(default_factory=dict)
    """The outcome of each idempotency key, and when it was stored."""
    epoch: int = field(default_factory=lambda: randbits(48))
    counter: int = 0
    purged_to: int = 0
    """The highest number of a deletion that was forgotten."""

    @property
    def state(self) -> State:
        """The state after the last write."""
        return State(epoch=self.epoch, number=self.counter) if self.counter else NOTHING

    @property
    def size(self) -> int:
        """The number of tasks, deletions and keys, and 1 for the counter once it has counted."""
        return len(self.by_id) + len(self.log.removed_at) + len(self.keys) + bool(self.counter)

    def add(self, task: Task) -> Task:
        """Store a new task with the next number."""
        self.counter += 1
        stored = self.by_id[task.id.int] = task.stored(self.counter)
        place = place_of(task.created_at, task.id)
        self.all.add(place)
        self.by_state[task.is_completed].add(place)
        self.log.put(stored)
        return stored

    def save(self, before: Task, task: Task) -> Task:
        """Replace a task, with the next number."""
        self.counter += 1
        stored = task.stored(self.counter, created_at=before.created_at)
        self.by_id[task.id.int] = stored
        if stored.is_completed != before.is_completed:
            place = place_of(stored.created_at, stored.id)
            self.by_state[before.is_completed].remove(place)
            self.by_state[stored.is_completed].add(place)
        self.log.put(stored, replaces=before.version)
        return stored

    def remove(self, task: Task, removed_at: datetime) -> None:
        """Remove a task; the deletion takes a number too."""
        self.counter += 1
        del self.by_id[task.id.int]
        place = place_of(task.created_at, task.id)
        self.all.remove(place)
        self.by_state[task.is_completed].remove(place)
        self.log.remove(task, self.counter, removed_at)

    def page(self, request: PageRequest) -> TaskPage:
        """Return a page, for the cost of a binary search and the page itself; a search reads all tasks before it."""
        places = self.all if request.completed is None else self.by_state[request.completed]
        before = place_of(request.after.created_at, request.after.id) if request.after else None
        by_id, count = self.by_id, request.limit + 1
        if request.text is None:
            tasks = [by_id[place & _ID_BITS] for place in places.newest(count, before=before)]
        else:
            tasks = [*islice(self._matches(places, before, search_key(request.text)), count)]
        return TaskPage.cut(tasks, request.limit, self.state)

    def _matches(self, places: OrderedPlaces, before: int | None, key: str) -> Iterator[Task]:
        for place in places.newest(len(self.by_id), before=before):
            task = self.by_id[place & _ID_BITS]
            if key in search_key(task.title):
                yield task

    def changes(self, since: State, limit: int) -> ChangePage:
        """Return a page of changes. Raises StateExpired."""
        state = self.state
        check_since(since, state, purged_to=self.purged_to)
        found = self.log.after(since.number, limit + 1, removals_after=began(since, state))
        return ChangePage.cut(found, limit=limit, since=since, state=state)

    def forget(self, task_id: UUID) -> None:
        """Forget a deletion."""
        self.purged_to = max(self.purged_to, self.log.forget(task_id))
