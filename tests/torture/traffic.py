"""Requests by several users over many connections, each answer recorded and checked."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice, takewhile
from uuid import uuid4

from tests.patience import until
from tests.torture.client import NOT_SENT, Answer, Client, Event, Json
from tests.torture.ledger import DELETE, Ledger, wrong_numbers
from tests.torture.postgres import OwnPostgres

READ, LIST, CREATE, RENAME, COMPLETE, REOPEN, REMOVE = (
    "read",
    "list",
    "create",
    "rename",
    "complete",
    "reopen",
    "remove",
)
WRITES = {CREATE: 8, RENAME: 5, COMPLETE: 3, REOPEN: 2, REMOVE: 2, READ: 2, LIST: 1}
EVEN = {CREATE: 4, RENAME: 3, COMPLETE: 2, REOPEN: 1, REMOVE: 2, READ: 10, LIST: 2}
PAUSE_AFTER_FAILURE_SECONDS = 0.02
"""Without a pause the clients would take the processor from the service."""


class Traffic:
    """Users who send requests one after the other, over `connections` connections in all."""

    def __init__(
        self,
        address: str,
        *,
        users: int = 4,
        connections: int = 16,
        mix: dict[str, int] | None = None,
        pause: float = 0.0,
    ) -> None:
        self.ledgers = {user: Ledger(user) for user in (f"user-{uuid4()}" for _ in range(users))}
        self.events: list[Event] = []
        self._clients = [Client(address, user) for user in islice(cycle(self.ledgers), connections)]
        self._mix = mix or WRITES
        self._pause = pause
        self._is_running = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Traffic"]:
        """Send requests until the end of the block; then wait for their answers."""
        self._is_running = True
        async with asyncio.TaskGroup() as askers:
            for client in self._clients:
                askers.create_task(self._ask_on(client))
            try:
                yield self
            finally:
                self._is_running = False

    def count(self, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """Count the answers to requests of a period: "200", "503 storage_unavailable", "none"."""
        events = (event for event in self.events if since <= event.began < until)
        return Counter(f"{event.status or 'none'} {event.code}".strip() for event in events)

    async def acknowledges(self, writes: int = 20) -> None:
        """Wait until so many writes that are sent from now on are acknowledged."""
        since = time.monotonic()

        async def enough() -> bool:
            late = takewhile(lambda event: event.ended > since, reversed(self.events))
            return sum(event.began > since and event.status in (201, 204) for event in late) >= writes

        await until(enough)

    async def wrong(
        self, address: str, postgres: OwnPostgres, database: str, *, unknown_may_be_stored: bool = True
    ) -> list[str]:
        """Return the faults of what a service now returns, and of what the database holds."""
        wrong = await wrong_numbers(postgres, database, self.ledgers)
        for user, ledger in self.ledgers.items():
            wrong += ledger.check(await everything(address, user), unknown_may_be_stored=unknown_may_be_stored)
        return wrong

    async def _ask_on(self, client: Client) -> None:
        ledger = self.ledgers[client.user]
        while self._is_running:
            event = await self._ask(client, ledger)
            self.events.append(event)
            await asyncio.sleep(self._pause or (0 if 0 < event.status < 500 else PAUSE_AFTER_FAILURE_SECONDS))
        client.close()

    async def _ask(self, client: Client, ledger: Ledger) -> Event:
        return await self._ask_one(client, ledger, random.choices([*self._mix], [*self._mix.values()])[0])

    async def _ask_one(self, client: Client, ledger: Ledger, kind: str) -> Event:
        if kind not in (CREATE, LIST) and not ledger.writable:
            kind = CREATE
        key = "" if kind in (CREATE, LIST) else random.choice(ledger.writable)
        at_least = ledger.newest(key) if key else 0
        method, end, body = _as_http(kind, key)
        if kind == REMOVE:
            ledger.writable.remove(key)
        event, answer = await self._send(client, kind, method, end, body)
        if event.code != NOT_SENT:
            _note(ledger, kind, key, body, answer, at_least)
        return event

    async def _send(
        self, client: Client, kind: str, method: str, end: str, body: Json | None
    ) -> tuple[Event, Answer | None]:
        return await client.try_to_ask(kind, method, end, body)


def _as_http(kind: str, key: str) -> tuple[str, str, Json | None]:
    title = {"title": f"{kind} {uuid4()}"}
    calls: dict[str, tuple[str, str, Json | None]] = {
        READ: ("GET", f"/{key}", None),
        LIST: ("GET", "?limit=10", None),
        CREATE: ("POST", "", title),
        RENAME: ("PUT", f"/{key}", title),
        COMPLETE: ("PATCH", f"/{key}/complete", None),
        REOPEN: ("PUT", f"/{key}", {"is_completed": False}),
        REMOVE: ("DELETE", f"/{key}", None),
    }
    return calls[kind]


def _note(ledger: Ledger, kind: str, key: str, body: Json | None, answer: Answer | None, at_least: int) -> None:
    """Record an answer in the ledger."""
    status = answer.status if answer else 0
    if answer and kind == LIST and status == 200:
        for task in answer.json()["tasks"]:
            ledger.acknowledge(task)
    elif answer and status in (200, 201):
        ledger.acknowledge(answer.json(), at_least=at_least)
    elif status == 204:
        ledger.removed.add(key)
    elif status == 404:
        ledger.not_found(key)
    elif kind not in (READ, LIST):
        write = DELETE if kind == REMOVE else {"is_completed": True} if kind == COMPLETE else body
        ledger.unknown[key].append(write or DELETE)
    if status not in (0, 200, 201, 204, 404, 503):
        ledger.wrong.append(f"answered {status}: {answer and answer.body!r}")


class Prober:
    """Polls `/health/live` and `/health/ready` as an orchestrator does, though more often."""

    EVERY_SECONDS = 0.05
    QUICK_SECONDS = 0.5
    """A probe is answered within half of what orchestrators allow by default."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.live: list[Event] = []
        self.ready: list[Event] = []

    @asynccontextmanager
    async def probing(self) -> AsyncIterator["Prober"]:
        """Poll until the end of the block."""
        self._probes = True
        async with asyncio.TaskGroup() as probes:
            probes.create_task(self._probe("/health/live", self.live))
            probes.create_task(self._probe("/health/ready", self.ready))
            try:
                yield self
            finally:
                self._probes = False

    async def _probe(self, path: str, events: list[Event]) -> None:
        client = Client(self._address, "prober")
        while self._probes:
            event, _ = await client.try_to_ask(path, "GET", path)
            events.append(event)
            await asyncio.sleep(self.EVERY_SECONDS)
        client.close()


async def everything(address: str, user: str) -> list[Json]:
    """Return all tasks of a user, page by page."""
    client = Client(address, user)
    tasks: list[Json] = []
    end: str | None = "?limit=500"
    while end:
        answer = await client.ask("GET", end)
        assert answer.status == 200, answer.body
        page = answer.json()
        tasks += page["tasks"]
        end = f"?limit=500&cursor={page['next_cursor']}" if page["next_cursor"] else None
    client.close()
    return tasks
