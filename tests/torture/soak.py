"""A long mixed load with everything on: a restart of the database and of the replicas in it, and nothing grows."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from adapters.tokens import issue_token
from tests.cli.processes import ROOT
from tests.torture.client import SECRET, Event
from tests.torture.fleet import Fleet
from tests.torture.followers import Follower
from tests.torture.keyed import MIXED, KeyedTraffic
from tests.torture.ledger import wrong_numbers
from tests.torture.postgres import OwnPostgres
from tests.torture.replicas import REPLICAS, check, equal, killed, new_file
from tests.torture.report import Finding, none_of
from tests.torture.resources import Resources
from tests.torture.retention import Retention
from tests.torture.retries import COUNTER
from tests.torture.rolling import caught_up
from tests.torture.traffic import everything

USERS, CONNECTIONS, PAUSE_SECONDS = 12, 24, 0.11
"""Together about 200 requests a second."""
USER_PAUSE_SECONDS = "2.0"
"""The longest between two changes of one of the replica clients."""
RECOVERY_SECONDS = 5.0
"""For the service and the health checks of the proxy, after the database is available again."""
SAMPLES = 30
"""In the shorter of the two lives of a process; at most one in ten seconds."""


async def soak(folder: Path, postgres: OwnPostgres, *, minutes: float) -> list[Finding]:
    """Load two replicas for so long; restart the database at a third of the time, the replicas at two thirds."""
    database = await postgres.new_database()
    fleet = Fleet(folder, postgres, database)
    run = _Run(fleet, postgres, database, folder, minutes * 60)
    async with fleet.running():
        await run.load()
        await run.stop()
    return run.findings()


class _Run:
    """One soak, and what was seen in it."""

    def __init__(self, fleet: Fleet, postgres: OwnPostgres, database: str, folder: Path, seconds: float) -> None:
        self._fleet, self._postgres, self._database, self._seconds = fleet, postgres, database, seconds
        self._address = fleet.proxy.address
        self._traffic = KeyedTraffic(
            self._address, users=USERS, connections=CONNECTIONS, mix=MIXED, pause=PAUSE_SECONDS
        )
        self._followers = [Follower(self._address, user) for user in self._traffic.ledgers for _ in range(2)]
        self._resources = Resources(fleet, postgres, database)
        self._retention = Retention(postgres, database)
        self._offline = f"offline-{uuid4()}"
        self._token = issue_token(SECRET, self._offline)
        self._files = [new_file(folder / f"{self._offline}-{n}.db") for n in range(REPLICAS)]
        self._answers: Counter[str] = Counter()
        self._failed: list[Event] = []
        self._outages: list[tuple[float, float]] = []
        self._wrong: list[str] = []
        self._changes = 0

    async def load(self) -> None:
        """Send requests all the time, and do in it what an operator does."""
        await self._resources.at_rest()
        await equal(self._files, self._address, self._offline, self._token)
        async with AsyncExitStack() as stack:
            stack.enter_context(self._offline_users())
            for follower in self._followers:
                await stack.enter_async_context(follower.following())
            async with self._traffic.running(), asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                await asyncio.sleep(self._seconds / 3)
                await self._restart_database()
                await asyncio.sleep(self._seconds / 3)
                await self._restart_replicas()
                await asyncio.sleep(self._seconds / 3)
                watch.cancel()
            self._drain_records()
            await caught_up(self._followers, self._address)

    async def stop(self) -> None:
        """Compare what every client has with what is stored, and see what is left when all of them have gone."""
        await equal(self._files, self._address, self._offline, self._token)
        stored = await everything(self._address, self._offline)
        async with self._postgres.admin(self._database) as admin:
            counter = await admin.fetchval(COUNTER, self._offline)
        self._changes, wrong = check(self._files, stored, counter)
        self._wrong += [*wrong, *self._fleet.wrong, *await self._traffic.wrong_tasks(self._address)]
        self._wrong += await wrong_numbers(self._postgres, self._database, {})
        await self._retention.finish()
        await self._resources.left()

    def findings(self) -> list[Finding]:
        """Return what was promised and what was seen."""
        answers = ", ".join(f"{count} of {answer}" for answer, count in self._answers.most_common())
        failed = [event for event in self._failures() if not self._is_excused(event)]
        done = f"{self._seconds / 60:g} minutes, {sum(self._answers.values())} requests: {answers}"
        streams = sum(follower.streams for follower in self._followers)
        compared = f"{self._changes} changes of {REPLICAS} replica clients, {streams} streams; all states compared"
        return [
            none_of("soak", done, "failed but for the time without database", failed),
            none_of("soak", compared, "wrong", self._wrong),
            *self._resources.findings(),
            self._retention.finding(by_itself=self._seconds >= 1200),
        ]

    @contextmanager
    def _offline_users(self) -> Iterator[None]:
        command = [sys.executable, "-m", "tests.torture.offline_user"]
        arguments = (self._address, self._offline, self._token, USER_PAUSE_SECONDS)
        users = [
            subprocess.Popen([*command, file, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL) for file in self._files
        ]
        try:
            yield
        finally:
            for user in users:
                self._wrong += killed(user)

    async def _watch(self) -> None:
        """Sample the resources, let rows grow old, and keep the records of this process short."""
        while True:
            await asyncio.sleep(min(10.0, self._seconds / 3 / SAMPLES))
            await self._resources.sample()
            await self._retention.age()
            self._drain_records()

    async def _restart_database(self) -> None:
        since = time.monotonic()
        await asyncio.to_thread(self._postgres.stop)
        await asyncio.to_thread(self._postgres.start)
        self._outages.append((since, time.monotonic() + RECOVERY_SECONDS))

    async def _restart_replicas(self) -> None:
        for n in range(len(self._fleet.services)):
            await self._fleet.restart(n)

    def _drain_records(self) -> None:
        self._answers += self._traffic.count()
        self._failed += [event for event in self._traffic.events if event.is_failure]
        self._traffic.events.clear()
        for ledger in self._traffic.ledgers.values():
            for key, versions in ledger.acknowledged.items():
                newest = ledger.newest(key)
                ledger.acknowledged[key] = {newest: versions[newest]}

    def _failures(self) -> list[Event]:
        return self._failed + [event for follower in self._followers for event in follower.failures]

    def _is_excused(self, event: Event) -> bool:
        """Return whether a request was refused because the database was restarted."""
        return event.is_retryable and any(since <= event.ended and event.began <= to for since, to in self._outages)
