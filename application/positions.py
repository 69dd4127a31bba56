"""The port by which a follower of events remembers how far it has come."""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from application.errors import ApplicationError
from application.events import Progress, SeenTask, TaskEvent
from application.states import State


class PositionsInUse(ApplicationError):
    """Another follower has these positions open."""

    sentence = "Another follower is using these positions."


class PositionStore(Protocol):
    """Keeps the positions of one follower: for each user the state up to which changes are known, and what was seen.

    It also keeps the events that were derived and not yet delivered, so that after a crash the same ones are delivered
    again, and in the same order. Every method is atomic. What `record` has kept must be durable when it returns; what
    `delivered` forgets may come back after a crash, but not one event without those after it. One follower uses it at a
    time.

    A StorageUnavailable that a method raises only delays the follower; other errors end it.

    A store is a subclass, as an adapter is one of TaskRepository.
    """

    @abstractmethod
    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        """Return the recorded states of those users who have one."""
        ...

    @abstractmethod
    async def users(self, *, after: str, until: str | None) -> list[str]:
        """Return the users who have a state, and whose ids are greater than `after` and not greater than `until`.

        Ids compare code point by code point. None stands for the end.
        """
        ...

    @abstractmethod
    async def seen(self, user_id: str, task_ids: Collection[UUID] | None) -> dict[UUID, SeenTask]:
        """Return what was seen of these tasks of a user; None stands for all that were seen."""
        ...

    @abstractmethod
    async def record(self, progress: Progress) -> None:
        """Keep the new state, what was seen, and the events after all that are pending. Forget the removed tasks."""
        ...

    @abstractmethod
    async def pending(self) -> Sequence[TaskEvent]:
        """Return the events that were recorded and not yet delivered, in the order in which they were recorded."""
        ...

    @abstractmethod
    async def delivered(self, event: TaskEvent) -> None:
        """Forget a pending event. Raises PositionsInUse when it is not the first one, as only another follower does."""
        ...
