"""The API reference: the OpenAPI document, and Swagger UI to browse and try it without internet access."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from entrypoints.http.response import JSON, ReadyResponse

_PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>hextasks</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/docs/assets/swagger.css">
  </head>
  <body>
    <div id="reference"></div>
    <script src="/docs/assets/swagger.js"></script>
    <script src="/docs/assets/page.js"></script>
  </body>
</html>
"""
_SCRIPT = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
# Swagger UI writes styles into its elements.
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
)
_FOR_A_DAY = (b"cache-control", b"public, max-age=86400")
_ASSETS: dict[str, tuple[str, bytes]] = {
    "swagger.js": ("swagger_bundle.js", b"text/javascript; charset=utf-8"),
    "swagger.css": ("swagger_style.css", b"text/css; charset=utf-8"),
}


@cache
def _asset(name: str) -> ReadyResponse:
    if name == "page.js":
        return ReadyResponse(200, _SCRIPT.encode(), (b"content-type", b"text/javascript; charset=utf-8"), _FOR_A_DAY)
    file, media_type = _ASSETS[name]
    return ReadyResponse(200, (files("offapi") / file).read_bytes(), (b"content-type", media_type), _FOR_A_DAY)


def docs_router(document: Callable[[], dict[str, Any]]) -> Router:
    """Return the routes of the reference. The document is built at its first request, in a thread, and then kept."""

    @cache
    def document_response() -> ReadyResponse:
        return ReadyResponse(200, msgspec.json.encode(document()), JSON)

    @get("/openapi.json", sync_to_thread=True)
    def openapi() -> ReadyResponse:
        return document_response()

    @get("/docs", sync_to_thread=False)
    def page() -> ReadyResponse:
        return ReadyResponse(200, _PAGE.encode(), (b"content-type", b"text/html; charset=utf-8"), _POLICY)

    @get("/docs/assets/{name:str}", sync_to_thread=True)
    def asset(name: FromPath[str]) -> ReadyResponse:
        if name != "page.js" and name not in _ASSETS:
            raise NotFoundException
        return _asset(name)

    return Router("/", route_handlers=[openapi, page, asset], include_in_schema=False)
