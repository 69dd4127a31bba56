"""The callers of a statement, for observers that tell them apart: concurrent callers share statements."""

from contextvars import ContextVar

from adapters.postgres.observers import StatementObserver

CALLERS: ContextVar[tuple[object, ...]] = ContextVar("callers", default=())
"""A caller of a repository sets it to one object of its own. In the task of a statement it has the objects of all calls
that the statement carries out, None for a call without one."""


class CallerObserver(StatementObserver):
    """An observer that reads CALLERS. Without one, shared statements do not keep their callers, which costs time."""


def callers_of(calls: list[tuple[object, ...]]) -> tuple[object, ...]:
    """Return the callers of a statement for calls, each with its own."""
    return tuple(caller for callers in calls for caller in callers or (None,))
