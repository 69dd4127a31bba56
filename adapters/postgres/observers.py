"""Observers, which are notified of each statement that `Executor.fetch` runs, at its end.

Not of the one that examines the database for readiness, which no request waits for.
"""

from typing import Protocol

from adapters.postgres.statement import Statement


class StatementObserver(Protocol):
    """Metrics and traces are observers."""

    def finished(self, statement: Statement, started: float, error: BaseException | None) -> None:
        """Record a statement that has ended. Called once for each, in the task that ran it.

        `started` is the time of `time.perf_counter` before the wait for a connection; a second try is part of the same
        statement. `error` is what the caller gets instead of rows: StorageUnavailable with the driver's error as its
        cause, another error of the driver's, or CancelledError. Must neither block nor raise.
        """
        ...
