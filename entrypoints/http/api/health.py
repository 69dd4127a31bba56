"""Health: whether the process runs, and whether it can serve. Neither needs a token."""

import asyncio

from litestar import Router, get

from entrypoints.http.api.schemas import HealthResponse
from entrypoints.http.docs.document import errors
from entrypoints.storage import Storage


def health_router(storage: Storage) -> Router:
    """Make the routes under `/health`."""
    asking: asyncio.Task[None] | None = None

    @get("/live", summary="Is the process running?", operation_id="live")
    async def live() -> HealthResponse:
        """Answers as long as the process does, whatever the storage does."""
        return HealthResponse()

    @get("/ready", summary="Can it serve?", operation_id="ready", responses=errors("storage_unavailable"))
    async def ready() -> HealthResponse:
        """Asks the storage."""
        # However many ask at once, the storage is asked once: whoever probes needs no token.
        nonlocal asking
        if asking is None or asking.done():
            asking = asyncio.create_task(storage.ping())
        await asyncio.shield(asking)
        return HealthResponse()

    return Router("/health", route_handlers=[live, ready], tags=["health"])
