"""The contenders side by side: each operation, with few and many clients in turns, the median of the rounds."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from statistics import median
from typing import Protocol

from tests.benchmarks.contenders import Contender, running
from tests.benchmarks.load import Load, write_requests
from tests.benchmarks.pgbench import PgBench
from tests.benchmarks.postgres import Postgres
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.seeding import Schema, fill, writes
from tests.benchmarks.workload import Operation, Requests


class Subject(Protocol):
    """A contender that runs."""

    @property
    def name(self) -> str:
        """Return what the tables call it."""

    @property
    def database(self) -> str:
        """Return the name of its database."""

    @property
    def schema(self) -> Schema:
        """Return how it keeps tasks."""

    def load(self, requests: Requests, file: Path, *, clients: int, seconds: float, sent: int) -> Load:
        """Have some clients send requests, from a number on; a file has them ready."""

    def is_idle(self) -> bool:
        """Return whether it has nothing to do."""

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, not a number where it does not apply."""

    def memory_bytes(self) -> float:
        """Return the memory in use, not a number where it does not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and for how long."""

    contenders: Sequence[Contender]
    with_database: bool
    """Whether pgbench takes part."""
    operations: Sequence[Operation]
    clients: Sequence[int]
    rounds: int
    seconds: float
    warm_up_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one window showed; not a number where something does not apply."""

    requests_per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    service_microseconds: float
    """Processor time of the service for each request."""
    database_microseconds: float
    """Processor time of PostgreSQL for each request."""
    round_trips: float
    """Statements for each request, BEGIN and COMMIT included."""
    memory_megabytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One contender at one operation."""

    contender: str
    operation: str
    clients: int
    rounds: Sequence[Figures]
    failure: str | None

    @property
    def figures(self) -> Figures | None:
        """Return the median of each figure; None when the contender failed."""
        if self.failure or not self.rounds:
            return None
        rounds = [asdict(figures) for figures in self.rounds]
        return Figures(**{field.name: median(figures[field.name] for figures in rounds) for field in fields(Figures)})

    def __str__(self) -> str:
        if self.figures is None:
            return f"FAILED: {self.failure}"
        return f"{self.figures.requests_per_second:,.0f}/s, {self.figures.service_microseconds:,.0f} µs"


class Comparison:
    """Runs a plan on a server."""

    def __init__(self, plan: Plan, postgres: Postgres, folder: Path) -> None:
        """Write requests and logs to a folder."""
        self._plan = plan
        self._postgres = postgres
        self._folder = folder
        self._runs = count(1)

    def run(self) -> Iterator[Result]:
        """Yield the results, operation by operation."""
        with ExitStack() as stack:
            subjects: list[Subject] = [
                stack.enter_context(running(contender, self._postgres, self._folder))
                for contender in self._plan.contenders
            ]
            if self._plan.with_database:
                subjects.append(PgBench(self._postgres, self._folder))
            for subject in subjects:  # compilers, pools and caches
                self._load_without_measuring(subject)
            for operation in self._plan.operations:
                yield from self._compared(subjects, operation)

    def _load_without_measuring(self, subject: Subject) -> None:
        seconds = 4 * self._plan.warm_up_seconds
        requests = Requests.lasting(seconds, run=next(self._runs), operation=Operation.MIX)
        fill(self._postgres, subject, requests)
        file = write_requests(self._folder / "requests", requests)
        subject.load(requests, file, clients=self._plan.clients[0], seconds=seconds, sent=0)
        self._postgres.settle(subject.database, subject.is_idle)

    def _compared(self, subjects: Sequence[Subject], operation: Operation) -> Iterator[Result]:
        turns = [(clients, subject) for clients in self._plan.clients for subject in subjects]
        rounds: dict[tuple[int, str], list[Figures]] = {(clients, subject.name): [] for clients, subject in turns}
        failures: dict[tuple[int, str], str] = {}
        for number in range(self._plan.rounds):
            lasting = self._plan.seconds + self._plan.warm_up_seconds
            requests = Requests.lasting(lasting, run=next(self._runs), operation=operation)
            file = write_requests(self._folder / "requests", requests)
            for clients, subject in turns if number % 2 == 0 else turns[::-1]:
                turn = clients, subject.name
                if turn not in failures:
                    try:
                        rounds[turn].append(self._window(subject, requests, file, clients))
                    except RuntimeError as error:
                        failures[turn] = str(error)
        for (clients, contender), figures in rounds.items():
            yield Result(
                contender=contender,
                operation=operation.value,
                clients=clients,
                rounds=figures,
                failure=failures.get((clients, contender)),
            )

    def _window(self, subject: Subject, requests: Requests, file: Path, clients: int) -> Figures:
        postgres = self._postgres
        fill(postgres, subject, requests)
        warm_up = subject.load(requests, file, clients=clients, seconds=self._plan.warm_up_seconds, sent=0)
        postgres.settle(subject.database, subject.is_idle)
        written = writes(postgres, subject)
        postgres.reset_statement_count()
        before, database_before = subject.cpu_seconds(), cpu_seconds(postgres.processes())
        load = subject.load(requests, file, clients=clients, seconds=self._plan.seconds, sent=warm_up.sent)
        after, database_after = subject.cpu_seconds(), cpu_seconds(postgres.processes())
        memory = subject.memory_bytes()
        postgres.settle(subject.database, subject.is_idle)
        statements = postgres.statement_count(subject.database)
        written = abs(writes(postgres, subject) - written)
        _check(load, requests.operation, written, clients)
        return Figures(
            requests_per_second=load.completed / load.seconds,
            p50_milliseconds=load.p50 * 1000,
            p99_milliseconds=load.p99 * 1000,
            service_microseconds=(after - before) / load.completed * 1e6,
            database_microseconds=(database_after - database_before) / load.completed * 1e6,
            round_trips=statements / load.sent,
            memory_megabytes=memory / 1e6,
        )


def _check(load: Load, operation: Operation, written: int, clients: int) -> None:
    """Raise RuntimeError unless every request succeeded and, if it should, changed something."""
    if load.is_exhausted:
        raise RuntimeError("faster than the prepared requests last: raise SENT_AT_MOST")
    if load.rejected or load.broken or not load.completed:
        raise RuntimeError(f"{load.rejected} rejected and {load.broken} without an answer, of {load.sent}")
    if operation.writes and not load.completed <= written <= load.sent + clients:
        raise RuntimeError(f"{load.completed} answered, {load.sent} sent, but {written} changed something")
