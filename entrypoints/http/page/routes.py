"""The page and its assets: plain files, which use the API like any other client."""

from html import escape
from pathlib import Path
from string import Template
from typing import Final

from litestar import Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from entrypoints.http.docs.static import StaticResponse

_ASSETS = Path(__file__).with_name("assets")
_MEDIA_TYPES: Final = {".js": b"text/javascript", ".css": b"text/css", ".svg": b"image/svg+xml"}
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
)


def page_router(path: str, *, user_claim: str) -> Router:
    """Return the routes of the page, at a path, and of its assets, below /app.

    The page takes the user from `user_claim` of its token.
    """
    html = Template((_ASSETS / "index.html").read_text()).substitute(user_claim=escape(user_claim))
    tasks = StaticResponse(html.encode(), (b"content-type", b"text/html; charset=utf-8"), _POLICY)
    assets = {
        file.name: StaticResponse(file.read_bytes(), (b"content-type", _MEDIA_TYPES[file.suffix] + b"; charset=utf-8"))
        for file in _ASSETS.iterdir()
        if file.suffix in _MEDIA_TYPES
    }

    @get(path, sync_to_thread=False)
    def page() -> StaticResponse:
        return tasks

    @get("/app/assets/{name:str}", sync_to_thread=False)
    def asset(name: FromPath[str]) -> StaticResponse:
        if name not in assets:
            raise NotFoundException
        return assets[name]

    return Router("/", route_handlers=[page, asset], include_in_schema=False)
