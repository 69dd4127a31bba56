"""HAProxy in front of replicas, as a load balancer that knows them by their health checks alone. It retries nothing."""

import asyncio
import csv
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import httpx

from tests.patience import until
from tests.torture.service import Service
from tests.wires import free_port

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
MISSING = "needs haproxy, which is not installed"
CHECK_SECONDS = 0.25
SHUTDOWN_DELAY = 2.0
"""Of replicas behind it: a few times as long as it takes to notice that one is not ready."""
CONFIGURATION = """
global
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout client 120s
    timeout server 40s
    timeout check 2s
    retries 0
    http-error status 503 content-type application/problem+json string '{{"code":"no_replica"}}' hdr Retry-After 1
frontend clients
    bind 127.0.0.1:{port}
    default_backend replicas
frontend statistics
    bind 127.0.0.1:{statistics}
    stats enable
    stats uri /
backend replicas
    balance roundrobin
    option httpchk GET /health/ready
    http-check expect status 200
    default-server check inter {milliseconds}ms fall 1 rise 1
"""


class Proxy:
    """The proxy of some replicas, each of which has an admin port."""

    def __init__(self, folder: Path, replicas: list[Service]) -> None:
        port, self._statistics = free_port(), free_port()
        self.address = f"http://127.0.0.1:{port}"
        text = CONFIGURATION.format(port=port, statistics=self._statistics, milliseconds=int(CHECK_SECONDS * 1000))
        for n, replica in enumerate(replicas):
            text += f"    server {n} {replica.address.removeprefix('http://')} port {replica.admin_port}\n"
        self._file = folder / "haproxy.cfg"
        self._file.write_text(text)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Run it until the end of the block, from when it has found a replica."""
        assert HAPROXY, MISSING
        process = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-q", "-f", self._file, stdin=DEVNULL)
        try:
            await until(self.has_any)
            yield self
        finally:
            process.terminate()
            await process.wait()

    async def has_any(self) -> bool:
        """Return whether it passes requests on."""
        return any((await self._states()).values())

    async def has(self, replica: int) -> bool:
        """Return whether it passes requests to a replica."""
        return (await self._states()).get(str(replica), False)

    async def _states(self) -> dict[str, bool]:
        try:
            async with httpx.AsyncClient(verify=False) as client:
                text = (await client.get(f"http://127.0.0.1:{self._statistics}/;csv")).text
        except httpx.TransportError:
            return {}
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {row["svname"]: row["status"].startswith("UP") for row in rows if row["pxname"] == "replicas"}
