"""kill -9 of the service during writes with idempotency keys, each repeated until it is answered: each is done once."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg

from tests.cli.processes import Served
from tests.patience import until
from tests.torture.client import Answer, Client, Json, NoAnswer
from tests.torture.postgres import ROLE, OwnPostgres, blocked_by
from tests.torture.report import Finding, none_of
from tests.torture.service import Service, kill
from tests.torture.stop import LOCK
from tests.torture.traffic import everything

WRITERS = 5
WRITES = 2
"""Of each writer, for each kill."""
COUNTER = "SELECT value FROM task_counters WHERE user_id = $1"
# Not those that wait for their client, which may be between two messages of one statement.
AT_WORK = f"""
SELECT count(*) FROM pg_stat_activity
WHERE usename = '{ROLE}' AND state = 'active' AND wait_event IS DISTINCT FROM 'ClientRead'
"""
PAUSE_SECONDS = 0.02


@dataclass(slots=True)
class Seen:
    """What the writers of one user were answered."""

    user: str = field(default_factory=lambda: f"user-{uuid4()}")
    tasks: dict[str, Json] = field(default_factory=dict)
    """Those that must be stored."""
    tokens: list[str] = field(default_factory=list)
    replayed: int = 0

    def faults(self, stored: list[Json], counter: int, writes: int) -> list[str]:
        """Compare with what is stored and counted after so many writes; return the faults, a line for each."""
        numbers = {token.rpartition("-")[2] for token in self.tokens}
        is_counted = numbers == {str(n) for n in range(1, writes + 1)} and counter == writes
        wrong = [] if is_counted else [f"{writes} writes, {counter} done, {len(numbers)} numbers"]
        by_id = {task["id"]: task for task in stored}
        return wrong + [
            f"stored {by_id.get(key)}, acknowledged {self.tasks.get(key)}"
            for key in by_id | self.tasks
            if by_id.get(key) != self.tasks.get(key)
        ]


class Writer:
    """Writes to tasks of its own, one write at a time."""

    def __init__(self, address: str, seen: Seen) -> None:
        self.client = Client(address, seen.user)
        self._seen = seen
        self._mine: list[str] = []

    async def write(self) -> None:
        for _ in range(WRITES):
            kind = random.choice(("create", "rename", "delete")) if self._mine else "create"
            title = {"title": f"{kind} {uuid4()}"}
            if kind == "delete":
                key = self._mine.pop(random.randrange(len(self._mine)))
                await self._until_answered(204, "DELETE", f"/{key}", None)
                del self._seen.tasks[key]
            elif kind == "rename":
                key = random.choice(self._mine)
                self._seen.tasks[key] = (await self._until_answered(200, "PUT", f"/{key}", title)).json()
            else:
                task = (await self._until_answered(201, "POST", "", title)).json()
                self._mine.append(task["id"])
                self._seen.tasks[task["id"]] = task

    async def _until_answered(self, status: int, method: str, end: str, body: Json | None) -> Answer:
        key = str(uuid4())
        while (answer := await self._try_to_ask(method, end, body, key)) is None:
            await asyncio.sleep(PAUSE_SECONDS)
        assert answer.status == status, f"{method} was answered {answer.status} {answer.body!r}"
        self._seen.tokens.append(answer.header("Sync-Token"))
        self._seen.replayed += answer.header("Idempotency-Replayed") == "true"
        return answer

    async def _try_to_ask(self, method: str, end: str, body: Json | None, key: str) -> Answer | None:
        try:
            answer = await self.client.ask(method, end, body, key)
        except NoAnswer:
            return None
        return None if answer.status == 503 else answer


async def retries(folder: Path, postgres: OwnPostgres, *, rounds: int) -> list[Finding]:
    """Kill the service at a random moment during ten writes, and in turns with that between a commit and its answer."""
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    seen = Seen()
    writers = [Writer(service.address, seen) for _ in range(WRITERS)]
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(service.running())
        admin = await stack.enter_async_context(postgres.admin(database))
        for n in range(rounds):
            async with asyncio.TaskGroup() as writing:
                async with (kill_before_an_answer if n % 2 else kill_at_random)(served, admin, seen.user):
                    for writer in writers:
                        writing.create_task(writer.write())
                served = await stack.enter_async_context(service.running())
        stored = await everything(service.address, seen.user)
        counter = await admin.fetchval(COUNTER, seen.user)
    for writer in writers:
        writer.client.close()
    writes = rounds * WRITERS * WRITES
    wrong = seen.faults(stored, counter, writes)
    if seen.replayed < rounds // 2:
        wrong.append("a write between commit and answer was not replayed")
    done = f"{writes} writes with Idempotency-Key; {rounds} of kill -9, half of them between commit and answer; "
    done += f"{seen.replayed} answers replayed"
    return [none_of("retries", done, "lost, done twice or answered otherwise", wrong)]


@asynccontextmanager
async def kill_at_random(served: Served, *_: object) -> AsyncIterator[None]:
    """Kill the service some milliseconds after the block."""
    yield
    await asyncio.sleep(random.uniform(0.0, 0.02))
    kill(served)


@asynccontextmanager
async def kill_before_an_answer(served: Served, admin: asyncpg.Connection, user: str) -> AsyncIterator[None]:
    """Kill the service after the block, when a write of the user has committed, and before it can answer it.

    The write waits for the lock of its user's counter; the service is paused before it gets that.
    """
    async with admin.transaction():
        await admin.execute(LOCK, user)
        yield

        async def waits() -> bool:
            return await blocked_by(admin) > 0

        await until(waits)
        os.killpg(served.process.pid, signal.SIGSTOP)

    async def is_idle() -> bool:
        return bool(await admin.fetchval(AT_WORK) == 0)

    try:
        await until(is_idle)
    finally:
        kill(served)
