"""Replicas of the service behind a proxy, which are restarted one by one as an update does it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from tests.cli.processes import Served
from tests.patience import until
from tests.torture.postgres import OwnPostgres
from tests.torture.proxy import SHUTDOWN_DELAY, Proxy
from tests.torture.service import Service


class Fleet:
    """Two replicas on one database."""

    def __init__(self, folder: Path, postgres: OwnPostgres, database: str, *, delay: float = SHUTDOWN_DELAY) -> None:
        """`delay` is their SHUTDOWN_DELAY."""
        self.services = [Service(folder, postgres, database) for _ in range(2)]
        self.served: list[Served] = []
        """The process of each replica."""
        self.restarting: set[int] = set()
        self.proxy = Proxy(folder, self.services)
        self.wrong: list[str] = []
        self._delay = delay
        self._stack = AsyncExitStack()
        self._proxying = AsyncExitStack()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fleet"]:
        """Run all of it until the end of the block, from when the proxy passes requests to both."""
        async with self._stack:
            self.served = [await self._start(n) for n in range(len(self.services))]
            await self._stack.enter_async_context(self._proxying)
            await self._proxying.enter_async_context(self.proxy.running())
            for n in range(len(self.services)):
                await self._joins(n)
            yield self

    async def disconnect(self) -> None:
        """Stop the proxy, so that no client is connected to a replica."""
        await self._proxying.aclose()

    async def restart(self, replica: int) -> None:
        """Stop a replica, start it again, and wait until the proxy passes requests to it."""
        self.restarting.add(replica)
        process = self.served[replica].process
        process.send_signal(signal.SIGTERM)
        if status := await asyncio.to_thread(process.wait, 60):
            self.wrong.append(f"exit status {status}")
        self.served[replica] = await self._start(replica)
        self.restarting.remove(replica)
        await self._joins(replica)

    async def _start(self, replica: int) -> Served:
        service = self.services[replica]
        settings = {"SHUTDOWN_DELAY": str(self._delay), "ADMIN_PORT": str(service.admin_port)}
        served = await self._stack.enter_async_context(service.running(**settings))
        await until(lambda: _is_ready(service))
        return served

    async def _joins(self, replica: int) -> None:
        async def is_in_use() -> bool:
            return await self.proxy.has(replica)

        await until(is_in_use)


async def _is_ready(service: Service) -> bool:
    async with httpx.AsyncClient(verify=False) as http:
        try:
            return (await http.get(f"http://127.0.0.1:{service.admin_port}/health/ready")).is_success
        except httpx.TransportError:
            return False
