"""The API's description: OpenAPI 3.1, and a page that shows it without internet access."""

from importlib.metadata import version
from importlib.resources import files
from typing import Any

from litestar import Response, Router, get
from litestar._openapi.schema_generation import SchemaCreator
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar.datastructures import ResponseHeader
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    OpenAPI,
    OpenAPIFormat,
    OpenAPIHeader,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    Schema,
    SecurityScheme,
)
from litestar.params import FromPath
from litestar.routes import BaseRoute
from litestar.types import ControllerRouterHandler
from litestar.typing import FieldDefinition
from msgspec import Struct, to_builtins

from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, Problem, example

_ASSETS = {
    "swagger.js": ("swagger_bundle.js", "text/javascript"),
    "swagger-preset.js": ("swagger_preset.js", "text/javascript"),
    "swagger.css": ("swagger_style.css", "text/css"),
}
# The page's own script and style stand in the page.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
_ASSETS_PATH = "/docs/assets"


def _header(
    description: str, *, required: bool = True, type: OpenAPIType = OpenAPIType.STRING, **schema: Any
) -> OpenAPIHeader:
    return OpenAPIHeader(Schema(type=type, **schema), description=description, required=required)


_HEADERS: dict[str, OpenAPIHeader | Reference] = {
    "ETag": _header("The task's version.", pattern='^"[1-9][0-9]*"$'),
    "Link": _header('The next page, as rel="next", unless this is the last.', required=False),
    "Location": _header("Where the task is.", format=OpenAPIFormat.URI_REFERENCE),
    "Retry-After": _header("Seconds to wait before the next try.", type=OpenAPIType.INTEGER, minimum=1),
    "WWW-Authenticate": _header("What is missing or wrong (RFC 6750).", pattern="^Bearer "),
    "X-Request-ID": _header("The request's id: yours if it was sane, else a new one.", min_length=1, max_length=128),
}
_HEADERS_BY_STATUS = {"304": ("ETag",), **{str(kind.status): tuple(kind.headers) for kind in KINDS.values()}}


def errors(*codes: str) -> dict[int, ResponseSpec]:
    """Describe the error answers with these codes, and the one that any call may get, each with an example."""
    described: dict[int, list[str]] = {}
    for code in (*codes, "overloaded", "shutting_down", "internal_error"):
        described.setdefault(KINDS[code].status, []).append(code)
    return {
        status: ResponseSpec(
            Problem,
            description=" or ".join(KINDS[code].title for code in same),
            media_type=PROBLEM_MEDIA_TYPE,
            generate_examples=False,
            examples=[Example(summary=code, value=to_builtins(example(code))) for code in same],
        )
        for status, same in described.items()
    }


INPUT = ("validation_error",)
BODY = ("request_timeout", "malformed_json", "validation_error", "body_too_large", "unsupported_media_type")
ACCESS = ("token_missing", "token_invalid", "token_expired", "keys_unavailable", "rate_limited", "forbidden")
STORAGE = ("storage_unavailable",)
EXISTING = ("task_not_found",)
WRITE = ("version_mismatch",)


def openapi_config() -> OpenAPIConfig:
    """Describe the API as a whole, and say where the description is served."""
    config = OpenAPIConfig(
        title="hextasks",
        version=version("hextasks"),
        description="Your tasks, and nobody else's. Every error is `application/problem+json` with a stable `code`.",
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="A JWT whose `sub` is the user in the path. In development: `hextasks token USER`.",
                )
            }
        ),
        openapi_router=_DocsRouter(
            "/",
            route_handlers=[],
            include_in_schema=False,
            response_headers=[ResponseHeader(name="Content-Security-Policy", value=_PAGE_POLICY)],
        ),
        render_plugins=[
            JsonRenderPlugin(path="/openapi.json"),
            SwaggerRenderPlugin(
                path="/docs",
                favicon="<link rel='icon' href='data:,'>",
                js_url=f"{_ASSETS_PATH}/swagger.js",
                css_url=f"{_ASSETS_PATH}/swagger.css",
                standalone_preset_js_url=f"{_ASSETS_PATH}/swagger-preset.js",
            ),
        ],
    )
    config.default_plugin = None  # which would be shown at / as well
    return config


class _DocsRouter(Router):
    """Litestar's routes for the description, less its HTML page for unknown paths: that is a problem like any other."""

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        """Register a route, unless it takes whatever path is left."""
        if isinstance(value, HTTPRouteHandler) and "/{path:str}" in value.paths:
            return []
        return super().register(value)


def complete(document: OpenAPI) -> None:
    """Say what Litestar cannot: every answer's headers, and that an optional parameter is left out and never null."""
    for operation in [each for item in (document.paths or {}).values() for each in vars(item).values()]:
        if isinstance(operation, Operation):
            for parameter in operation.parameters or ():
                if isinstance(parameter, Parameter):
                    _drop_null(parameter.schema)
            for status, response in (operation.responses or {}).items():
                if isinstance(response, OpenAPIResponse):
                    names = [*(response.headers or ()), *_HEADERS_BY_STATUS.get(status, ()), "X-Request-ID"]
                    response.headers = {name: _HEADERS[name] for name in names}


def _drop_null(schema: Schema | Reference | None) -> None:
    """Make a choice of one thing, or of one thing and null, that one thing."""
    if isinstance(schema, Schema) and schema.one_of:
        kinds = [each.type for each in schema.one_of if isinstance(each, Schema) and each.type != OpenAPIType.NULL]
        (schema.type,), schema.one_of = kinds, None


class StrictBodySchemas(StructSchemaPlugin):
    """Says of the request bodies what msgspec enforces and Litestar leaves out: no other fields, and at least one."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Take the types that forbid unknown fields."""
        kind = field_definition.annotation
        return isinstance(kind, type) and issubclass(kind, Struct) and kind.__struct_config__.forbid_unknown_fields

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """Return the type's schema."""
        schema = super().to_openapi_schema(field_definition, schema_creator)
        schema.additional_properties = False
        schema.min_properties = 1
        for field in (schema.properties or {}).values():
            _drop_null(field)
        return schema


def assets_router() -> Router:
    """Make the route that serves the page's script and style, out of an installed package."""

    @get("/{name:str}", include_in_schema=False, sync_to_thread=True)
    def asset(name: FromPath[str]) -> Response[bytes]:
        if name not in _ASSETS:
            raise NotFoundException
        file, media_type = _ASSETS[name]
        content = (files("offapi") / file).read_bytes()
        return Response(content, media_type=media_type, headers={"Cache-Control": "public, max-age=86400"})

    return Router(_ASSETS_PATH, route_handlers=[asset])
