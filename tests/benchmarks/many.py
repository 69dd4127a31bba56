"""One, two and four processes under ten to a thousand keep-alive clients, and how long a start takes.

Processes, clients and PostgreSQL share all processors. The mix of operations is sent, each client at once with its next
request. By default a process rejects what exceeds its capacity: MAX_CONCURRENT_REQUESTS, and what the database does not
serve within DATABASE_TIMEOUT, which a thousand requests at once exceed on two busy cores. Both are raised so that every
request is served and its latency shows; REQUEST_TIMEOUT has to be more than three times DATABASE_TIMEOUT.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Contender, Service, running
from tests.benchmarks.load import run_wrk, write_requests
from tests.benchmarks.postgres import Postgres
from tests.benchmarks.processes import ALL_CORES
from tests.benchmarks.seeding import fill
from tests.benchmarks.workload import Operation, Requests

LIMITS = {"DATABASE_TIMEOUT": "30", "REQUEST_TIMEOUT": "100"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What a number of processes did for a number of clients."""

    processes: int
    clients: int
    requests_per_second: float
    p99_milliseconds: float
    memory_megabytes: float
    """Of all processes together; what they share is counted once."""
    connections: int
    """To the database."""
    failed: int
    """Requests rejected or without an answer."""


def crowds(
    contender: Contender,
    postgres: Postgres,
    folder: Path,
    *,
    processes: Sequence[int],
    clients: Sequence[int],
    seconds: float,
) -> list[Crowd]:
    """Measure each number of clients on each number of processes."""
    found, runs = [], count(1)
    for number in processes:
        settings = LIMITS | {"WEB_CONCURRENCY": str(number), "MAX_CONCURRENT_REQUESTS": str(2 * max(clients))}
        with running(contender, postgres, folder, cores=ALL_CORES, **settings) as service:
            for crowd in clients:
                requests = Requests.lasting(2 * seconds, run=next(runs), operation=Operation.MIX)
                fill(postgres, service, requests)
                file = write_requests(folder / "requests", requests)
                found.append(_crowd(service, postgres, file, processes=number, clients=crowd, seconds=seconds))
    return found


def _crowd(service: Service, postgres: Postgres, file: Path, *, processes: int, clients: int, seconds: float) -> Crowd:
    sent = run_wrk(service.port, file, clients=clients, seconds=seconds / 4, cycle=False, cores=ALL_CORES).sent
    postgres.settle(service.database, service.is_idle)
    load = run_wrk(service.port, file, clients=clients, seconds=seconds, first=sent, cycle=False, cores=ALL_CORES)
    connections = postgres.connection_count(service.database)
    postgres.settle(service.database, service.is_idle)
    if load.is_exhausted:
        raise RuntimeError("faster than the prepared requests last: raise SENT_AT_MOST")
    return Crowd(
        processes=processes,
        clients=clients,
        requests_per_second=(load.completed - load.rejected) / load.seconds,
        p99_milliseconds=load.p99 * 1000,
        memory_megabytes=service.memory_bytes() / 1e6,
        connections=connections,
        failed=load.rejected + load.broken,
    )


def start_seconds(contender: Contender, postgres: Postgres, folder: Path, *, starts: int) -> float:
    """Return how long it takes from the start to the first success of /health/ready; the median of some starts."""
    with running(contender, postgres, folder) as first:
        database = first.database
    seconds = []
    for _ in range(starts):
        with running(contender, postgres, folder, database=database) as service:
            seconds.append(service.start_seconds)
    return median(seconds)
