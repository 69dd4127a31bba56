"""Every error response: RFC 9457 problem details, made in one place from one table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec


class Kind(NamedTuple):
    """The common part of all problems with one code."""

    status: int
    title: str
    headers: Mapping[str, str] = MappingProxyType({})


PROBLEM_MEDIA_TYPE = "application/problem+json"
_CHALLENGE = 'Bearer realm="hextasks"'
_RETRY_LATER = {"Retry-After": "1"}

KINDS = {
    "malformed_json": Kind(400, "The body is not JSON"),
    "validation_error": Kind(400, "The request is not valid"),
    "token_missing": Kind(401, "A bearer token is required", {"WWW-Authenticate": _CHALLENGE}),
    "token_invalid": Kind(
        401,
        "The bearer token is not valid",
        {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token", error_description="The token is not valid"'},
    ),
    "token_expired": Kind(
        401,
        "The bearer token has expired",
        {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token", error_description="The token has expired"'},
    ),
    "forbidden": Kind(403, "The path names another user"),
    "task_not_found": Kind(404, "The task does not exist"),
    "route_not_found": Kind(404, "No resource has this path"),
    "method_not_allowed": Kind(405, "The resource does not support this method"),
    "request_timeout": Kind(408, "The request took too long to arrive"),
    "task_already_exists": Kind(409, "A task with this id already exists"),
    "version_mismatch": Kind(412, "The task has another version"),
    "body_too_large": Kind(413, "The body is too large"),
    "uri_too_long": Kind(414, "The target of the request is too long"),
    "unsupported_media_type": Kind(415, "The body must be application/json"),
    "rate_limited": Kind(429, "This user has sent too many requests", _RETRY_LATER),
    "headers_too_large": Kind(431, "The headers of the request are too large"),
    "internal_error": Kind(500, "The service failed to process the request"),
    "overloaded": Kind(503, "The service is at its capacity", {"Retry-After": "2"}),
    "shutting_down": Kind(503, "The service is shutting down", _RETRY_LATER),
    "keys_unavailable": Kind(503, "The token issuer's keys are unavailable", _RETRY_LATER),
    "storage_unavailable": Kind(503, "The database is unavailable", _RETRY_LATER),
}


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An error response as RFC 9457 describes it. Branch on `code`, which is stable; the texts may change."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[dict[str, str]] = []
    """For `validation_error`: what is wrong where, each with a JSON `pointer` or a `parameter`, and a `detail`."""


def example(code: str) -> Problem:
    """Return a problem with a code, for the documentation."""
    errors = [{"pointer": "/title", "detail": "The title must not be empty."}] if code == "validation_error" else []
    return make_problem(code, "", errors, instance="/api/ada/tasks", request_id="0f8fad5b-d9cb-469f-a165-70867728950e")


def encoded_problem(code: str, detail: str = "", *, instance: str, request_id: str) -> bytes:
    """Return the encoded body of a problem."""
    return msgspec.json.encode(make_problem(code, detail, [], instance=instance, request_id=request_id))


def make_problem(code: str, detail: str, errors: list[dict[str, str]], *, instance: str, request_id: str) -> Problem:
    """Return the problem for a code of the table."""
    kind = KINDS[code]
    return Problem(
        type=f"urn:problem-type:hextasks:{code}",
        title=kind.title,
        status=kind.status,
        detail=detail or f"{kind.title}.",
        instance=instance,
        code=code,
        request_id=request_id,
        errors=errors,
    )
