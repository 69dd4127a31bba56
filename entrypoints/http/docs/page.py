"""The API reference: the OpenAPI document, and Swagger UI to browse and try it without internet access."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

import msgspec
from litestar import Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from entrypoints.http.docs.static import StaticResponse
from entrypoints.http.response import JSON

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
_SCRIPT = Template("""// Fill in the user of the token wherever a path names one.
function fillIn(system, token) {
  const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(claims), (byte) => byte.charCodeAt(0));
  const user = JSON.parse(new TextDecoder().decode(bytes))[$user_claim];
  for (const [path, operations] of Object.entries(system.specSelectors.specJson().toJS().paths)) {
    if (!path.includes("{user_id}")) continue;
    for (const method of Object.keys(operations)) {
      system.specActions.changeParam([path, method], "user_id", "path", user);
    }
  }
}

const Users = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (original, system) => (given) => {
          try {
            fillIn(system, given.bearer.value);
          } catch (error) {
            console.warn("not a token of this service", error);
          }
          return original(given);
        },
      },
    },
  },
});

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  oauth2RedirectUrl: null,
  showCommonExtensions: true,
  tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [Users],
});
""")
# Swagger UI writes styles into its elements.
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
)
_FOR_A_DAY = (b"cache-control", b"public, max-age=86400")
_FILES = {"swagger.js": "swagger_bundle.js", "swagger.css": "swagger_style.css"}
_JAVASCRIPT = b"text/javascript"


@cache
def _asset(name: str) -> StaticResponse:
    media_type = b"text/css" if name.endswith(".css") else _JAVASCRIPT
    return StaticResponse(_swagger_file(_FILES[name]), (b"content-type", media_type + b"; charset=utf-8"), _FOR_A_DAY)


def _swagger_file(name: str) -> bytes:
    """Read a file of a package without importing that, which would keep 38 MB."""
    package = find_spec("offapi")
    assert package, "a requirement"  # noqa: S101
    assert package.origin, "it has files"  # noqa: S101
    return (Path(package.origin).parent / name).read_bytes()


def docs_router(document: Callable[[], dict[str, Any]], *, user_claim: str, is_made_now: bool) -> Router:
    """Return the routes of the reference. The page takes the user from `user_claim` of its token.

    Their responses take 0.15 s to make. They are made now, so that no request has to wait, or else when first wanted.
    """
    reference = StaticResponse(_PAGE.encode(), (b"content-type", b"text/html; charset=utf-8"), _POLICY)
    described = StaticResponse(lambda: msgspec.json.encode(document()), JSON)
    script = _SCRIPT.substitute(user_claim=msgspec.json.encode(user_claim).decode()).encode()
    assets = {name: _asset(name) for name in _FILES}
    assets["page.js"] = StaticResponse(script, (b"content-type", _JAVASCRIPT + b"; charset=utf-8"))
    if is_made_now:
        for response in (described, *assets.values()):
            response.variants()

    @get("/openapi.json", sync_to_thread=False)
    def openapi() -> StaticResponse:
        return described

    @get("/docs", sync_to_thread=False)
    def page() -> StaticResponse:
        return reference

    @get("/docs/assets/{name:str}", sync_to_thread=False)
    def asset(name: FromPath[str]) -> StaticResponse:
        if name not in assets:
            raise NotFoundException
        return assets[name]

    return Router("/", route_handlers=[openapi, page, asset], include_in_schema=False)
