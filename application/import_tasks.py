"""Story: bring tasks from elsewhere, with their ids and times."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from uuid import UUID

from application.access import only_own_tasks
from application.attempts import MAX_ATTEMPTS
from application.errors import TaskAlreadyExists, TaskContended
from application.ports import Clock, TaskRepository
from application.signal import ChangeSignal
from application.writes import Write, WritesRejected
from domain import Task

IMPORT_BATCH = 500
"""Tasks that are written together."""


@dataclass(slots=True, kw_only=True)
class Imported:
    """What an import has done with each of the tasks that it was given."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    """Tasks that existed already, equal in every field."""
    kept: list[UUID] = field(default_factory=list)
    """Tasks that exist with other values, and were left as they are."""
    deleted: list[UUID] = field(default_factory=list)
    """Tasks that the user has deleted here, and that stay deleted."""

    @property
    def count(self) -> int:
        """The number of tasks that the import was given."""
        return self.added + self.replaced + self.unchanged + len(self.kept) + len(self.deleted)

    @property
    def is_complete(self) -> bool:
        """Whether all tasks are in the list now as they were given."""
        return not self.kept and not self.deleted

    def __iadd__(self, other: "Imported") -> "Imported":
        self.added += other.added
        self.replaced += other.replaced
        self.unchanged += other.unchanged
        self.kept += other.kept
        self.deleted += other.deleted
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTasks:
    """Adds tasks as they are, completion and times included. An import that is repeated changes nothing."""

    tasks: TaskRepository
    clock: Clock
    signal: ChangeSignal = field(default_factory=ChangeSignal)

    async def __call__(self, *, actor: str, user_id: str, tasks: Iterable[Task], replace: bool = False) -> Imported:
        """Add the tasks that the user does not have, and return what became of each.

        The user becomes the owner of all tasks, which get new versions. A task that exists with other values stays, or
        is replaced with `replace`; one with another `created_at` stays in any case, and one that was deleted here stays
        deleted, as long as its deletion is kept. Tasks are written in batches of 500, each all or none: after an error
        repeat the call.

        Raises NotOwner, InvalidText, TaskContended, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        total = Imported()
        for batch in _batches(tasks, user_id):
            total += await self._write(user_id, batch, replaces=replace)
        return total

    async def _write(self, user_id: str, batch: Mapping[UUID, Task], *, replaces: bool) -> Imported:
        stored: Mapping[UUID, Task] = {}  # the first attempt assumes a new list
        removed: set[UUID] = set()
        for _ in range(MAX_ATTEMPTS):
            writes, imported = _planned(batch.values(), stored, removed, replaces=replaces)
            if not writes:
                return imported
            try:
                applied = await self.tasks.apply(user_id, writes, now=self.clock.now())
            except WritesRejected as rejected:
                stored = await self.tasks.get_many(user_id, batch.keys())
                exists = [n for n, error in rejected.errors.items() if isinstance(error, TaskAlreadyExists)]
                removed |= {writes[n].task.id for n in exists} - stored.keys()
            else:
                self.signal.publish(user_id, applied.state)
                return imported
        raise TaskContended


def _batches(tasks: Iterable[Task], user_id: str) -> Iterator[Mapping[UUID, Task]]:
    """Yield the tasks as the user's, each once in a batch."""
    batch: dict[UUID, Task] = {}
    for task in tasks:
        if len(batch) == IMPORT_BATCH or task.id in batch:
            yield batch
            batch = {}
        batch[task.id] = task if task.user_id == user_id else replace(task, user_id=user_id)
    if batch:
        yield batch


def _planned(
    tasks: Iterable[Task], stored: Mapping[UUID, Task], removed: AbstractSet[UUID], *, replaces: bool
) -> tuple[Sequence[Write], Imported]:
    """Return the writes that are needed, and the outcome once they are carried out."""
    writes, imported = [], Imported()
    for task in tasks:
        existing = stored.get(task.id)
        if existing is None and task.id in removed:
            imported.deleted.append(task.id)
        elif existing is None:
            writes.append(Write(kind="add", task=task))
            imported.added += 1
        elif existing == (given := task.stored(existing.version)):
            imported.unchanged += 1
        elif replaces and existing.created_at == given.created_at:
            writes.append(Write(kind="save", task=given))
            imported.replaced += 1
        else:
            imported.kept.append(task.id)
    return writes, imported
