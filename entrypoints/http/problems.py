"""Every error response: RFC 9457 problem details, made in one place from one table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType


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
    "sync_token_expired": Kind(410, "The changes since this token are no longer known"),
    "version_mismatch": Kind(412, "The task has another version"),
    "body_too_large": Kind(413, "The body is too large"),
    "uri_too_long": Kind(414, "The target of the request is too long"),
    "unsupported_media_type": Kind(415, "The body must be application/json"),
    "idempotency_key_reused": Kind(422, "The idempotency key was used for another request"),
    "precondition_required": Kind(428, "The request must be conditional"),
    "rate_limited": Kind(429, "This user has sent too many requests", _RETRY_LATER),
    "headers_too_large": Kind(431, "The headers of the request are too large"),
    "internal_error": Kind(500, "The service failed to process the request"),
    "overloaded": Kind(503, "The service is at its capacity", {"Retry-After": "2"}),
    "shutting_down": Kind(503, "The service is shutting down", _RETRY_LATER),
    "keys_unavailable": Kind(503, "The token issuer's keys are unavailable", _RETRY_LATER),
    "storage_unavailable": Kind(503, "The database is unavailable", _RETRY_LATER),
}
"""The problems by their `code`."""

INPUT_CODES = {
    "missing_body": "The operation needs a body.",
    "missing_field": "A required field is missing.",
    "unknown_field": "The operation has no such field.",
    "wrong_type": "The value has another JSON type than the field.",
    "unknown_parameter": "The operation has no such query parameter.",
    "repeated_parameter": "The query parameter occurs more than once.",
    "invalid_value": "The value is malformed or outside of its documented bounds.",
}
"""What may be wrong with the form of a request, by the `code` of an InputError. The domain adds codes of its own."""


class InputError(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is wrong at one place of a request: at a `pointer` or at a `parameter`."""

    pointer: Annotated[str, Meta(description="The place in the body (RFC 6901).")] | UnsetType = UNSET
    parameter: Annotated[str, Meta(description="The name of a query parameter or a header.")] | UnsetType = UNSET
    code: Annotated[
        str,
        Meta(
            description="The rule that is broken: one of the domain's, or one for the form of requests:\n\n"
            + "\n".join(f"- `{code}`: {meaning}" for code, meaning in INPUT_CODES.items())
        ),
    ]
    detail: str
    current_version: Annotated[int, Meta(description="For `version_mismatch`: the task's version.")] | UnsetType = UNSET


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An error response as RFC 9457 describes it. Branch on `code`, which is stable; the texts may change."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: Annotated[
        str,
        Meta(
            description="\n".join(f"- `{code}`: {kind.title}." for code, kind in KINDS.items()),
            extra_json_schema={"enum": list(KINDS)},
        ),
    ]
    request_id: str
    current_version: Annotated[int, Meta(description="For `version_mismatch`: the task's version.")] | UnsetType = UNSET
    errors: Annotated[
        list[InputError], Meta(description="For `validation_error`, and for a rejected batch: what is wrong where.")
    ] = []


def example(code: str) -> Problem:
    """Return a problem with a code, for the documentation."""
    error = InputError(pointer="/title", code="title_empty", detail="The title must not be empty.")
    problem = make_problem(code, instance="/api/ada/tasks", request_id="0f8fad5b-d9cb-469f-a165-70867728950e")
    problem.errors = [error] if code == "validation_error" else []
    problem.current_version = 8 if code == "version_mismatch" else UNSET
    return problem


def encoded_problem(code: str, detail: str = "", *, instance: str, request_id: str) -> bytes:
    """Return the encoded body of a problem."""
    return msgspec.json.encode(make_problem(code, detail, instance=instance, request_id=request_id))


def make_problem(code: str, detail: str = "", *, instance: str, request_id: str) -> Problem:
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
    )
