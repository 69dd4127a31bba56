"""Health: whether the process runs, and whether it can serve. Neither needs a token."""

import asyncio

from litestar import Router, get

from application import StorageUnavailable
from entrypoints.http.api.schemas import HealthResponse
from entrypoints.http.docs.responses import errors, success
from entrypoints.http.response import ReadyResponse
from entrypoints.storage import Storage

_OK = ReadyResponse.json(200, HealthResponse())


def health_router(storage: Storage, *, timeout: float) -> Router:
    """Return the routes under `/health`; the storage is unavailable if it does not respond in `timeout` seconds."""
    probe: asyncio.Task[None] | None = None

    async def ping() -> None:
        try:
            async with asyncio.timeout(timeout):
                await storage.ping()
        except TimeoutError:
            raise StorageUnavailable from None

    @get(
        "/live",
        summary="Is the process running?",
        operation_id="live",
        responses=success("The process is running", HealthResponse()) | errors(),
    )
    async def live() -> ReadyResponse:
        """Succeeds as long as the process runs, whether or not the database is available."""
        return _OK

    @get(
        "/ready",
        summary="Can the service handle requests?",
        operation_id="ready",
        responses=success("The service is ready", HealthResponse()) | errors("storage_unavailable"),
    )
    async def ready() -> ReadyResponse:
        """Succeeds when the database responds and accepts writes."""
        # Concurrent probes share one statement, because a probe needs no token.
        nonlocal probe
        if probe is None or probe.done():
            probe = asyncio.create_task(ping())
        await asyncio.shield(probe)
        return _OK

    return Router("/health", route_handlers=[live, ready], tags=["health"])
