"""Health: whether the process runs, and whether it can serve. Neither needs a token."""

from litestar import Router, get

from entrypoints.http.docs import errors
from entrypoints.http.schemas import HealthResponse
from entrypoints.storage import Storage


def health_router(storage: Storage) -> Router:
    """Make the routes under `/health`."""

    @get("/live", summary="Is the process running?", operation_id="live")
    async def live() -> HealthResponse:
        """Answers as long as the process does, whatever the storage does."""
        return HealthResponse()

    @get("/ready", summary="Can it serve?", operation_id="ready", responses=errors("storage_unavailable"))
    async def ready() -> HealthResponse:
        """Asks the storage."""
        await storage.ping()
        return HealthResponse()

    return Router("/health", route_handlers=[live, ready], tags=["health"])
