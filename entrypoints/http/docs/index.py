"""The response of `/` unless the page is there: the paths of the API."""

import msgspec
from litestar import Router, get

from entrypoints.http.docs.static import StaticResponse
from entrypoints.http.response import JSON

_PATHS = {
    "tasks": "/api/{user_id}/tasks",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "health": {"live": "/health/live", "ready": "/health/ready"},
}


def index_router(page_path: str | None) -> Router:
    """Return the route of `/`, which names the page, too, if there is one."""
    paths = StaticResponse(msgspec.json.encode(_PATHS | ({"page": page_path} if page_path else {})), JSON)

    @get("/", sync_to_thread=False)
    def index() -> StaticResponse:
        return paths

    return Router("/", route_handlers=[index], include_in_schema=False)
