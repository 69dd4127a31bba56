"""The OpenAPI 3.1 document, built as plain data.

Litestar derives the operations from the route handlers; msgspec derives the schemas from the types that encode and
decode the bodies. Neither derives the headers of each response, and that an optional parameter is omitted and never
null; these are added to the data.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, Contact, License, SecurityScheme, Tag

from application import TOKEN_PATTERN
from entrypoints.http.docs.components import share
from entrypoints.http.problems import KINDS

HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "The task's version; of a list, its state together with the query.",
        "schema": {"type": "string", "pattern": r'^("[1-9][0-9]*"|W/"[0-9a-f-]+")$'},
    },
    "Link": {"description": 'The next page, as rel="next", unless this is the last.', "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "The response is that of an earlier request with this Idempotency-Key.",
        "schema": {"type": "string", "const": "true"},
    },
    "Location": {"description": "The path of the task.", "schema": {"type": "string", "format": "uri-reference"}},
    "RateLimit": {
        "description": "The requests left, and the seconds until all are restored; absent without a limit.",
        "schema": {"type": "string", "pattern": '^"user";r=[0-9]+;t=[0-9]+$'},
    },
    "RateLimit-Policy": {
        "description": "The requests of one user, and the seconds that they are for; absent without a limit.",
        "schema": {"type": "string", "pattern": '^"user";q=[0-9]+;w=[0-9]+$'},
    },
    "Retry-After": {"description": "Seconds to wait before a retry.", "schema": {"type": "integer", "minimum": 1}},
    "Sync-Token": {
        "description": "The state of the tasks after the write, unless that changed nothing.",
        "schema": {"type": "string", "pattern": TOKEN_PATTERN},
    },
    "WWW-Authenticate": {
        "description": "Why the token was rejected (RFC 6750).",
        "schema": {"type": "string", "pattern": "^Bearer "},
    },
    "X-Request-ID": {
        "description": "The id of the request: the client's if it is well-formed, else a new one.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
}
"""The headers of responses that a client may need."""
_ORDER = (
    *("listTasks", "createTask", "getTask", "updateTask", "completeTask", "deleteTask", "applyBatch"),
    *("listChanges", "followTasks"),
    *("live", "ready"),
)
_OPTIONAL = frozenset({"Idempotency-Replayed", "Link", "RateLimit", "RateLimit-Policy", "Sync-Token"})
_ERROR_HEADERS = {str(kind.status): tuple(kind.headers) for kind in KINDS.values()}


def openapi_document(
    routers: Sequence[Router], schemas: Sequence[type[msgspec.Struct]], error_codes: Sequence[str]
) -> dict[str, Any]:
    """Return the document of the operations in the routers, which must not be part of another application.

    `schemas` are the types of all bodies, `error_codes` the codes of an InputError.
    """
    app = Litestar(routers, openapi_config=_CONFIG, logging_config=None)
    document: dict[str, Any] = msgspec.to_builtins(app.openapi_schema.to_schema())
    document["components"]["schemas"] = _schemas(schemas)
    document["components"]["schemas"]["InputError"]["properties"]["code"]["enum"] = list(error_codes)
    handlers = dict(_handlers(app))
    for operation in [each for path in document["paths"].values() for each in path.values()]:
        handler = handlers[operation["operationId"]]
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
            parameter["schema"].pop("description", None)  # it repeats that of the parameter
            del parameter["deprecated"]
        security = operation.setdefault("security", [])
        del operation["deprecated"]
        operation["responses"] = dict(sorted(operation["responses"].items()))
        success_headers = [header.name for header in handler.resolve_response_headers()]
        for status, response in operation["responses"].items():
            names = [*(_ERROR_HEADERS.get(status, ()) if status >= "400" else success_headers), "X-Request-ID"]
            if security and status != "401":  # the limit is that of the token's user
                names += ["RateLimit", "RateLimit-Policy"]
            response["headers"] = {name: {**HEADERS[name], "required": name not in _OPTIONAL} for name in names}
    document["paths"] = _ordered(document["paths"])
    share(document)
    return document


def _ordered(paths: dict[str, Any]) -> dict[str, Any]:
    """Return paths, and the operations of each path, in the order in which a reader wants them."""
    place = {operation_id: n for n, operation_id in enumerate(_ORDER)}
    ordered = {
        path: dict(sorted(operations.items(), key=lambda each: place[each[1]["operationId"]]))
        for path, operations in paths.items()
    }
    return dict(sorted(ordered.items(), key=lambda each: place[next(iter(each[1].values()))["operationId"]]))


def _schemas(types: Sequence[type[msgspec.Struct]]) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if schema.get("additionalProperties") is False:  # the body of a request: an empty one is rejected
            schema["minProperties"] = 1
        for field in schema["properties"].values():
            if len(field.get("enum", ())) == 1:  # the tag of a type, which msgspec gives no type
                field |= {"type": "string", "const": field.pop("enum")[0]}
    return schemas


def _handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    """Yield the id of each operation with its handler."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and isinstance(handler.operation_id, str):
                yield handler.operation_id, handler


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Reduce a choice between one type and null to that type."""
    (kind,) = [each for each in schema.pop("oneOf", [schema]) if each.get("type") != "null"]
    return {**schema, **kind}


COMPONENTS = Components(
    security_schemes={
        "bearer": SecurityScheme(
            type="http",
            scheme="bearer",
            bearer_format="JWT",
            description="A JWT whose `sub` is the user in the path. In development: `hextasks token USER`.",
        )
    }
)
"""The security scheme that the operations name."""
_CONFIG = OpenAPIConfig(
    title="hextasks",
    version=version("hextasks"),
    contact=Contact(name="The maintainers of hextasks"),
    license=License(name="MIT", identifier="MIT"),
    tags=[
        Tag("tasks", description="A user's tasks, for that user only."),
        Tag("sync", description="What has changed, for clients that keep a copy."),
        Tag("health", description="Probes for load balancers and orchestrators, which need no token."),
    ],
    use_handler_docstrings=True,
    description="Each user's own tasks. Every error is `application/problem+json` with a stable `code`.",
    components=COMPONENTS,
    render_plugins=[],
)
