"""The execution of statements: what the repository needs of a database, and the rules for time and retries."""

import asyncio
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from time import perf_counter
from typing import Any, Protocol

import asyncpg

from adapters.postgres.callers import CallerObserver
from adapters.postgres.deadline import Deadline
from adapters.postgres.errors import DID_NOTHING, Fault, fault, storage_errors
from adapters.postgres.observers import StatementObserver
from adapters.postgres.statement import Statement
from adapters.postgres.tables import SCHEMA_RULE, TABLES, is_schema_name

_READ_RUNS_AGAIN = DID_NOTHING | {Fault.LOST}


class Executor(Protocol):
    """What PostgresTaskRepository needs of a database: to run single statements."""

    timeout: float
    """The time limit of a statement, in seconds."""
    keeps_callers: bool = False
    """Whether an observer reads CALLERS, so that calls that share a statement have to keep theirs, which costs time."""

    @abstractmethod
    async def fetch(
        self, statement: Statement, arguments: Sequence[Any] = (), *, deadline: float | None = None
    ) -> list[asyncpg.Record]:
        """Run one statement, whose parameters are `$1`, `$2` and so on, as asyncpg does, and return its rows.

        A statement is atomic. It ends within `timeout`, or at a deadline of the event loop's clock. Raises
        StorageUnavailable when the database is unavailable, and asyncpg's other errors as they are.
        """
        ...


class StatementExecutor(Executor):
    """Runs statements for one event loop, within their time, and again where that is safe.

    A statement runs a second time if the first try provably did nothing, or if it is a read whose connection was lost.
    """

    def __init__(self, *, timeout: float, schema: str | None, observers: tuple[StatementObserver, ...] = ()) -> None:
        self.timeout = timeout
        self.keeps_callers = any(isinstance(each, CallerObserver) for each in observers)
        self._observers = observers
        self._sql = _sql_in(schema)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def fetch(
        self, statement: Statement, arguments: Sequence[Any] = (), *, deadline: float | None = None
    ) -> list[asyncpg.Record]:
        loop = self._running_loop()
        sql = self._sql(statement)
        started = perf_counter()
        if deadline is None:
            deadline = loop.time() + self.timeout
        try:
            with storage_errors, Deadline(loop, deadline):
                rows: list[asyncpg.Record] | None = None
                try:
                    rows = await self._fetch_once(sql, arguments, deadline)
                except Exception as error:
                    if fault(error) not in (_READ_RUNS_AGAIN if statement.is_read else DID_NOTHING):
                        raise
                if rows is None:
                    rows = await self._fetch_once(sql, arguments, deadline)
        except BaseException as error:
            self._notify(statement, started, error)
            raise
        self._notify(statement, started)
        return rows

    def _notify(self, statement: Statement, started: float, error: BaseException | None = None) -> None:
        for observer in self._observers:
            observer.finished(statement, started, error)

    @abstractmethod
    async def _fetch_once(self, sql: str, arguments: Sequence[Any], deadline: float, /) -> list[asyncpg.Record]:
        """Run SQL text and return its rows. Raises the driver's errors. The caller ends it at the deadline."""

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise RuntimeError(
                    f"a {type(self).__name__} belongs to the event loop that used it first; make one for each loop"
                )
            self._loop = loop
        return loop


_TABLE = re.compile(rf"\b(FROM|JOIN|INTO|UPDATE|ONLY)(\s+)({'|'.join(sorted(TABLES))})\b")


@cache
def _sql_in(schema: str | None) -> Callable[[Statement], str]:
    """Return a function that returns a statement's SQL with its tables in a schema. Raises ValueError for a bad name.

    Without a schema, the connection's search path finds the tables.
    """
    if schema is None:
        return attrgetter("sql")
    if not is_schema_name(schema):
        raise ValueError(f"the name of a schema {SCHEMA_RULE}")
    return cache(lambda statement: _TABLE.sub(rf'\1\2"{schema}".\3', statement.sql))
