"""Statements that a test starts and ends, in place of those of a database."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from adapters.postgres.call_queue import Call
from adapters.postgres.coalescing import Coalescer
from tests.patience import until

ADD, SAVE = "add", "save"


class Statements:
    """Statements that run until the test ends them, and a record of their calls."""

    def __init__(self, **options: Any) -> None:
        self.shared: list[list[tuple[str, int]]] = []
        self.alone: list[tuple[str, int]] = []
        self.gates: list[asyncio.Future[Any]] = []
        self.run_alone: set[int] = set()
        self.cancelled = 0
        self.coalescer = Coalescer(self._together, self._alone, **{"timeout": 20.0} | options)

    def call(self, user: str, number: int = 0, operation: str = ADD) -> asyncio.Task[Any]:
        return asyncio.create_task(self.coalescer.call(operation, user, UUID(int=number), ()))

    async def started(self, count: int) -> None:
        async def all_started() -> bool:
            return len(self.gates) >= count

        await until(all_started)

    async def _together(self, calls: Sequence[Call], deadline: float) -> Sequence[Any]:
        assert deadline == max(call.deadline for call in calls)
        self.shared.append([(call.user_id, call.task_id.int) for call in calls])
        await self._gate()
        return [None if call.task_id.int in self.run_alone else (call.user_id, call.task_id.int) for call in calls]

    async def _alone(self, call: Call) -> Any:
        self.alone.append((call.user_id, call.task_id.int))
        await self._gate()
        return "alone"

    async def _gate(self) -> None:
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        try:
            await gate
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def end(self, *places: int) -> None:
        for place in places or range(len(self.gates)):
            if not self.gates[place].done():
                self.gates[place].set_result(None)


async def outcomes(*tasks: asyncio.Task[Any]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)
