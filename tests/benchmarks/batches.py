"""What a batch of 100 creates costs beside one create: the service's processor time, and its statements.

Both are sent by one client, in turn, so that nothing is coalesced and the ratio holds on a noisy machine.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Contender, Service, running
from tests.benchmarks.flat import Caller
from tests.benchmarks.postgres import Postgres

SIZE = 100
BOUND = 6.0
"""The most processor time of a batch, in creates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One request: the service's processor time in seconds, and the statements that the database executed."""

    request: str
    processor_seconds: float
    statements: float


def batch_costs(
    contender: Contender, postgres: Postgres, folder: Path, *, rounds: int, requests: int
) -> tuple[Cost, Cost]:
    """Return the costs of a create and of a batch; the median of rounds, in each of which batches are a tenth."""
    one = json.dumps({"title": "Buy milk"})
    many = json.dumps({"operations": [{"op": "create", "title": f"Buy milk {n}"} for n in range(SIZE)]})
    singles: list[Cost] = []
    batches: list[Cost] = []
    with running(contender, postgres, folder) as service:
        caller = Caller(service)
        for _ in range(1 + rounds):
            singles.append(_cost("create", service, postgres, caller, "", one, requests))
            batches.append(_cost(f"batch of {SIZE}", service, postgres, caller, "/batch", many, requests // 10))
    return _median(singles[1:]), _median(batches[1:])  # the first ones fill caches


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        request=costs[0].request,
        processor_seconds=median(cost.processor_seconds for cost in costs),
        statements=median(cost.statements for cost in costs),
    )


def _cost(name: str, service: Service, postgres: Postgres, caller: Caller, path: str, body: str, requests: int) -> Cost:
    postgres.settle(service.database, service.is_idle)
    postgres.reset_statement_count()
    before = service.cpu_seconds()
    for _ in range(requests):
        caller.call("POST", path, body)
    seconds = service.cpu_seconds() - before
    postgres.settle(service.database, service.is_idle)
    statements = postgres.statement_count(service.database)
    return Cost(request=name, processor_seconds=seconds / requests, statements=statements / requests)
