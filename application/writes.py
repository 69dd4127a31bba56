"""What writes are made of, and what they return."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from application.changes import Change
from application.errors import ApplicationError
from application.states import State
from domain import Task
from domain.rules import TextRule

IDEMPOTENCY_KEY = TextRule("idempotency_key", max_length=255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """An idempotency key: of all writes of a user with the same key, one is carried out. Raises InvalidText."""

    key: str
    """1 to 255 characters, none of them a control character."""
    fingerprint: bytes
    """A digest of all that the caller asked for. The same key with another fingerprint is rejected."""

    def __post_init__(self) -> None:
        IDEMPOTENCY_KEY.check(self.key)


WriteKind: TypeAlias = Literal["add", "save", "remove", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One of the writes of `TaskRepository.apply`."""

    kind: WriteKind
    """`keep` changes nothing: it only requires that the task is still as it was read."""
    task: Task
    """To add: the new task. To save: the task that was read, changed. Otherwise the task as read."""


T = TypeVar("T", Task, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Generic[T]):
    """The outcome of a write of one task."""

    task: T
    """The task as it is stored; None after its deletion."""
    state: State | None
    """The user's state after the write; None where it changed nothing."""
    is_replayed: bool = False
    """Whether this is the outcome of an earlier write with the same idempotency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The outcome of many writes."""

    results: tuple[Change, ...]
    """In the order of the writes: each task as it is stored, or its deletion."""
    state: State
    """The user's state after the writes."""
    has_changed: bool
    """Whether they changed anything."""
    is_replayed: bool = False
    """Whether this is the outcome of earlier writes with the same idempotency key."""

    @property
    def changed_state(self) -> State | None:
        """The user's state after the writes; None where they changed nothing."""
        return self.state if self.has_changed else None


class WritesRejected(ApplicationError):
    """Some of many writes were rejected, so that none was carried out."""

    sentence = "Some of the writes were rejected; nothing was written."

    def __init__(self, errors: Mapping[int, ApplicationError]) -> None:
        """Take the reasons by the places of the writes, counted from 0."""
        super().__init__()
        self.errors = errors
