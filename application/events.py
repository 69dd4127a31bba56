"""What has happened to tasks: events, which are derived by comparing tasks with what was last seen of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from application.changes import Change, Removal
from application.states import State
from domain import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """Something that has happened to a task. Its class says what: one of the five below."""

    kind: ClassVar[str]
    user_id: str
    task_id: UUID
    title: str
    """The title after it; of a deleted task, the last one that was seen."""
    at: datetime | None
    """When it happened, according to the task; None for a deletion, of which only the order is known."""
    epoch: int
    """The epoch of the user's count of changes, as in State."""
    version: int
    """The number of the change, or of the newest one, if the task has changed several times since it was last seen."""
    part: int
    """Its place among the follower's events of this number, from 0."""

    @property
    def id(self) -> str:
        """What tells the event from others that one follower receives about this user. A repetition has the same id.

        Of two events of an epoch, the later one has the greater pair of `version` and `part`.
        """
        return f"{self.epoch:012x}-{self.version}-{self.part}"

    def as_dict(self) -> dict[str, str | int]:
        """Return the fields as JSON has them, without those that are None, and with the `kind`."""
        values = asdict(self) | {"task_id": str(self.task_id), "at": self.at and self.at.isoformat()}
        return {"kind": self.kind} | {name: value for name, value in values.items() if value is not None}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "TaskEvent":
        """Return the event that `as_dict` describes. Raises KeyError, TypeError or ValueError for anything else."""
        fields = {name: value for name, value in values.items() if name != "kind"}
        at = datetime.fromisoformat(values["at"]) if "at" in values else None
        return _KINDS[values["kind"]](**fields | {"task_id": UUID(values["task_id"]), "at": at})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreated(TaskEvent):
    """A task was created, or is seen for the first time. It is open, unless a TaskCompleted follows."""

    kind: ClassVar[str] = "created"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRenamed(TaskEvent):
    """A task has another title."""

    kind: ClassVar[str] = "renamed"
    old_title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCompleted(TaskEvent):
    """An open task was completed."""

    kind: ClassVar[str] = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReopened(TaskEvent):
    """A completed task was opened again."""

    kind: ClassVar[str] = "reopened"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDeleted(TaskEvent):
    """A task was deleted."""

    kind: ClassVar[str] = "deleted"


_KINDS: dict[str, type[TaskEvent]] = {
    kind.kind: kind for kind in (TaskCreated, TaskRenamed, TaskCompleted, TaskReopened, TaskDeleted)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTask:
    """What a follower keeps of a task, to derive the next events about it."""

    title: str
    is_completed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a follower has learned from one look at a user's tasks."""

    user_id: str
    state: State
    """The state up to which the user's changes are known now."""
    seen: Mapping[UUID, SeenTask]
    """The tasks that were read, as they are now."""
    removed: frozenset[UUID]
    """The tasks that no longer exist."""
    events: tuple[TaskEvent, ...]
    """What has happened, in the order in which it is delivered."""

    @classmethod
    def derived(
        cls,
        changes: Iterable[Change],
        seen: Mapping[UUID, SeenTask],
        *,
        user_id: str,
        state: State,
        at: State | None = None,
    ) -> "Progress":
        """Compare a user's changes, each of another task, with what was seen of these tasks.

        Changes that lead back to what was seen cancel out, and so do a creation and a deletion that were both not seen.
        The events have the numbers of the changes, or that of the state `at`.
        """
        events: list[TaskEvent] = []
        now: dict[UUID, SeenTask] = {}
        removed: set[UUID] = set()
        for change in changes:
            before, number = seen.get(change.id), at.number if at else change.version
            if isinstance(change, Removal):
                removed.add(change.id)
            else:
                now[change.id] = SeenTask(title=change.title, is_completed=change.is_completed)
            for kind, values in _differences(change, before):
                part = events[-1].part + 1 if events and events[-1].version == number else 0
                named: dict[str, Any] = {"user_id": user_id, "task_id": change.id, "epoch": (at or state).epoch}
                events.append(kind(**named, version=number, part=part, **values))
        return cls(user_id=user_id, state=state, seen=now, removed=frozenset(removed), events=tuple(events))


def _differences(change: Change, before: SeenTask | None) -> Iterator[tuple[type[TaskEvent], dict[str, Any]]]:
    """Yield the kinds of events of one change, and the fields that depend on it."""
    if isinstance(change, Task):
        title = {"title": change.title}
        if before is None:
            yield TaskCreated, {**title, "at": change.created_at}
        elif change.title != before.title:
            yield TaskRenamed, {**title, "at": change.updated_at, "old_title": before.title}
        if change.is_completed and not (before and before.is_completed):
            yield TaskCompleted, {**title, "at": change.completed_at}
        elif before and before.is_completed and not change.is_completed:
            yield TaskReopened, {**title, "at": change.updated_at}
    elif before:
        yield TaskDeleted, {"title": before.title, "at": None}
