"""Traffic in which each write has an idempotency key and is repeated until it is answered, so no outcome is unknown."""

import asyncio
import random
from uuid import uuid4

from tests.torture.client import Answer, Client, Event, Json
from tests.torture.ledger import Ledger
from tests.torture.traffic import COMPLETE, CREATE, LIST, READ, REMOVE, RENAME, REOPEN, Traffic, everything

BATCH, CHANGES = "batch", "changes"
MIXED = {READ: 100, LIST: 25, CHANGES: 15, CREATE: 12, RENAME: 14, COMPLETE: 8, REOPEN: 4, REMOVE: 20, BATCH: 4}
"""Seven reads to three writes. A batch creates two tasks, so that as many are removed as created."""
PAUSE_SECONDS = 0.2
"""Before a write is sent again."""


class KeyedTraffic(Traffic):
    """Fails as often as its requests do, and then knows what must be stored exactly."""

    async def _ask(self, client: Client, ledger: Ledger) -> Event:
        kind = random.choices([*self._mix], [*self._mix.values()])[0]
        if kind == CHANGES:
            event, _ = await client.try_to_ask(kind, "GET", "/changes?limit=20")
            return event
        return await (self._ask_batch(client, ledger) if kind == BATCH else self._ask_one(client, ledger, kind))

    async def _ask_batch(self, client: Client, ledger: Ledger) -> Event:
        operations: list[Json] = [{"op": "create", "title": f"{BATCH} {uuid4()}"} for _ in range(2)]
        if ledger.writable:
            operations.append({"op": "complete", "id": random.choice(ledger.writable)})
        event, answer = await self._until_answered(client, BATCH, "POST", "/batch", {"operations": operations})
        if answer.status == 200:
            for result in answer.json()["results"]:
                ledger.acknowledge(result["task"])
        elif answer.code != "task_not_found":  # another connection has removed it
            ledger.wrong.append(f"answered {answer.status}: {answer.body!r}")
        return event

    async def _send(
        self, client: Client, kind: str, method: str, end: str, body: Json | None
    ) -> tuple[Event, Answer | None]:
        if method == "GET":
            return await client.try_to_ask(kind, method, end, body)
        return await self._until_answered(client, kind, method, end, body)

    async def _until_answered(
        self, client: Client, kind: str, method: str, end: str, body: Json | None
    ) -> tuple[Event, Answer]:
        key = str(uuid4())
        while True:
            event, answer = await client.try_to_ask(kind, method, end, body, key)
            if answer and answer.status != 503:
                return event, answer
            self.events.append(event)
            await asyncio.sleep(PAUSE_SECONDS)

    async def wrong_tasks(self, address: str) -> list[str]:
        """Return the faults of what a service now returns."""
        wrong: list[str] = []
        for user, ledger in self.ledgers.items():
            wrong += ledger.check(await everything(address, user), unknown_may_be_stored=False)
        return wrong
