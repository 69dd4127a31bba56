"""A load generator for a process of its own: `python -m tests.torture.load '{"address": …}'` prints what it measured.

Four reads to one write, of many users. Closed loop: each connection sends a request as soon as it has an answer.
Open loop: requests are due at an even rate, whether or not the earlier ones were answered.
"""

import asyncio
import os
import resource
import sys
import time
from collections import Counter, defaultdict
from itertools import cycle
from subprocess import PIPE
from uuid import uuid4

import msgspec
import uvloop

from tests.torture.client import Client, NoAnswer
from tests.torture.report import percentile

USERS = 64
READS = 4
"""To one write."""
CONNECTING_AT_ONCE = 64


class Order(msgspec.Struct, kw_only=True, frozen=True):
    """The load to offer over so many connections; with a `rate`, in requests a second, the loop is open."""

    address: str
    seconds: float
    warm_up_seconds: float
    """What happens before is not measured."""
    connections: int
    rate: float = 0.0
    cores: set[int] = set()
    """The processor cores to use; empty means all."""
    is_patient: bool = True
    """Whether connections heed Retry-After."""


class Result(msgspec.Struct, kw_only=True, frozen=True):
    """Answers a second and seconds to the answer, by outcome: "accepted", a problem's code, or "unanswered"."""

    offered: float
    unsent: float
    """Of an open loop: requests a second that were due while every connection was busy or waiting."""
    rates: dict[str, float]
    p50: dict[str, float]
    p99: dict[str, float]

    def __str__(self) -> str:
        return f"{self.offered:.0f}/s offered, {self.unsent:.0f}/s not sent; " + ", ".join(
            f"{rate:.0f}/s {kind} (p50 {self.p50[kind]:.3f}, p99 {self.p99[kind]:.3f} s)"
            for kind, rate in self.rates.items()
        )


async def measured(order: Order) -> Result:
    """Offer a load from a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.torture.load", msgspec.json.encode(order).decode(), stdout=PIPE
    )
    stdout, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(stdout, type=Result)


class Load:
    """The load generator inside that process."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._due_at = 0.0
        """When the next request of an open loop is due."""

    async def run(self) -> Result:
        """Warm up, then measure."""
        order = self._order
        requests = await self._requests()
        clients = [Client(order.address, "anybody") for _ in range(order.connections)]
        for n in range(0, len(clients), CONNECTING_AT_ONCE):  # more at once might not fit the server's backlog
            await asyncio.gather(*(client.connect() for client in clients[n : n + CONNECTING_AT_ONCE]))
        turns = (requests[n % len(requests) :] + requests[: n % len(requests)] for n in range(len(clients)))
        self._due_at = time.perf_counter()
        tasks = [asyncio.create_task(self._ask_on(*pair)) for pair in zip(clients, turns, strict=True)]
        await asyncio.sleep(order.warm_up_seconds)
        self._seconds.clear()
        self._counts.clear()
        began = time.perf_counter()
        await asyncio.sleep(order.seconds)
        took = time.perf_counter() - began
        found = {kind: sorted(seconds) for kind, seconds in self._seconds.items()}
        for task in tasks:
            task.cancel()
        return Result(
            offered=self._counts["offered"] / took,
            unsent=self._counts["unsent"] / took,
            rates={kind: len(seconds) / took for kind, seconds in found.items()},
            p50={kind: percentile(seconds, 0.5) for kind, seconds in found.items()},
            p99={kind: percentile(seconds, 0.99) for kind, seconds in found.items()},
        )

    async def _requests(self) -> list[bytes]:
        """Return the requests to send in turn: for each user reads of one task, and a creation."""
        requests = []
        for _ in range(USERS):
            client = Client(self._order.address, f"load-{uuid4()}")
            made = await client.ask("POST", "", {"title": "Buy milk"})
            assert made.status == 201, made.body
            requests += [client.request("GET", f"/{made.json()['id']}")] * READS
            requests.append(client.request("POST", "", {"title": "Buy milk"}))
            client.close()
        return requests

    async def _ask_on(self, client: Client, requests: list[bytes]) -> None:
        for request in cycle(requests):
            if self._order.rate:
                await self._until_due(1 / self._order.rate)
            self._counts["offered"] += 1
            await self._ask(client, request)

    async def _until_due(self, interval: float) -> None:
        """Wait until one more request is due, at an even rate: bursts would be another load than the one ordered.

        Requests that were due while every connection was busy or waiting are counted, and not sent later.
        """
        now = time.perf_counter()
        missed = max(0, int((now - self._due_at) / interval))
        self._counts["offered"] += missed
        self._counts["unsent"] += missed
        due_at = self._due_at + missed * interval
        self._due_at = due_at + interval
        if due_at > now:
            await asyncio.sleep(due_at - now)

    async def _ask(self, client: Client, request: bytes) -> None:
        """Send a request, record its outcome, and wait as long as Retry-After says."""
        began = time.perf_counter()
        try:
            answer = await (await client.send(request))
        except NoAnswer:
            self._seconds["unanswered"].append(time.perf_counter() - began)
            await asyncio.sleep(0.1)
            return
        self._seconds[answer.code or "accepted"].append(answer.seconds)
        if self._order.is_patient:
            await asyncio.sleep(answer.retry_after)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    order = msgspec.json.decode(sys.argv[1], type=Order)
    if order.cores:
        os.sched_setaffinity(0, order.cores)
    result = uvloop.run(Load(order).run())
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
