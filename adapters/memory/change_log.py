"""The changes of one user, by number."""

from bisect import bisect_right
from datetime import datetime
from uuid import UUID

from application import Change, Removal
from domain import Task

SPARE_NUMBERS = 64


class ChangeLog:
    """The newest change of each task, in the order of their numbers, and the deletions that are kept."""

    __slots__ = ("_changes", "_numbers", "removed_at")

    def __init__(self) -> None:
        self._changes: dict[int, Change] = {}
        self._numbers: list[int] = []  # ascending; those of older changes are among them until there are too many
        self.removed_at: dict[UUID, tuple[datetime, int]] = {}
        """When each deleted task was removed, and the number of its deletion."""

    def put(self, task: Task, *, replaces: int | None = None) -> None:
        """Add the change of a task, which takes the place of its change with another number."""
        self._append(task, replaces)

    def remove(self, task: Task, number: int, removed_at: datetime) -> None:
        """Add the deletion of a task."""
        self._append(Removal(id=task.id, version=number), task.version)
        self.removed_at[task.id] = removed_at, number

    def forget(self, task_id: UUID) -> int:
        """Forget a deletion, and return its number."""
        _, number = self.removed_at.pop(task_id)
        del self._changes[number]
        return number

    def after(self, number: int, limit: int, *, removals_after: int = 0) -> list[Change]:
        """Return up to `limit` changes after a number, and of the deletions only those after another."""
        found: list[Change] = []
        for position in range(bisect_right(self._numbers, number), len(self._numbers)):
            change = self._changes.get(self._numbers[position])
            if change and not (type(change) is Removal and change.version <= removals_after):
                found.append(change)
                if len(found) == limit:
                    break
        return found

    def _append(self, change: Change, replaces: int | None) -> None:
        if replaces is not None:
            del self._changes[replaces]
        self._changes[change.version] = change
        self._numbers.append(change.version)
        if len(self._numbers) > 2 * len(self._changes) + SPARE_NUMBERS:
            self._numbers = [*self._changes]
