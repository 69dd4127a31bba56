"""The feed of a user's changes, with which a client keeps a copy of the list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeAlias
from uuid import UUID

from application.errors import StateExpired
from application.states import NOTHING, State
from domain import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A deletion."""

    id: UUID
    version: int
    """The number of the deletion."""


Change: TypeAlias = Task | Removal
"""The newest change of one task: the task as it is now, or its deletion. Its number is `version`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """Changes in the order of their numbers, each task at most once."""

    changes: tuple[Change, ...]
    next: State
    """The state after these changes, for the next call."""
    has_more: bool

    @classmethod
    def cut(cls, changes: Sequence[Change], *, limit: int, since: State, state: State) -> Self:
        """Make a page of `limit` changes from up to `limit + 1`, which were read in a state after `since`."""
        if len(changes) <= limit:
            return cls(changes=tuple(changes), next=state, has_more=False)
        page = tuple(changes[:limit])
        next_ = replace(state, number=page[-1].version, began=began(since, state))
        return cls(changes=page, next=next_, has_more=True)

    def steps(self, since: State) -> Iterator[tuple[Change, State]]:
        """Yield each change with the state after it, from which one can go on. `since` is the state before the page."""
        start = self.next.began if self.has_more else began(since, self.next)
        for change in self.changes[:-1]:
            yield change, State(epoch=self.next.epoch, number=change.version, began=start)
        for change in self.changes[-1:]:
            yield change, self.next


def began(since: State, state: State) -> int:
    """Return the number at which the first synchronization began that `since` is part of; 0 if it is part of none."""
    return state.number if since == NOTHING else since.began


def check_since(since: State, state: State, *, purged_to: int) -> None:
    """Check that all changes after a state are known now that the user has another; deletions to `purged_to` are not.

    Raises StateExpired.
    """
    newest = max(since.number, since.began)
    if since != NOTHING and (since.epoch != state.epoch or newest > state.number or purged_to > newest):
        raise StateExpired
