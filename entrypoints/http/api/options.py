"""OPTIONS: the methods of a path."""

from typing import Any

from litestar import Request, route
from litestar.handlers import HTTPRouteHandler

from entrypoints.http.response import ReadyResponse


def options_handler(path: str) -> HTTPRouteHandler:
    """Return a handler for OPTIONS on a path of a router.

    It replaces Litestar's own, whose Allow has only the first method of a path.
    """

    @route(path, http_method=["OPTIONS"], status_code=200, include_in_schema=False)
    async def options(request: Request[Any, Any, Any]) -> ReadyResponse:
        template = request.scope["path_template"]
        methods = next(route.methods for route in request.app.routes if route.path_format == template)
        return ReadyResponse.empty(204, (b"allow", ", ".join(sorted(methods)).encode()))

    return options
