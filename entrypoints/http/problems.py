"""Every error answer: RFC 9457 problem details, made in one place from one table."""

import logging
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from adapters.tokens import KeysUnavailable, TokenError
from application import (
    ApplicationError,
    NotOwner,
    StorageUnavailable,
    TaskContended,
    TaskNotFound,
    VersionConflict,
)
from domain import DomainError
from entrypoints.http.admission import Crowded
from entrypoints.http.rate_limit import RateLimited

_log = logging.getLogger("hextasks.http")


class Kind(NamedTuple):
    """What all problems with one code have in common."""

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
    "forbidden": Kind(403, "Only your own tasks"),
    "task_not_found": Kind(404, "There is no such task"),
    "route_not_found": Kind(404, "There is nothing at this address"),
    "method_not_allowed": Kind(405, "This address does not take that method"),
    "request_timeout": Kind(408, "The request took too long to arrive"),
    "version_mismatch": Kind(412, "The task has another version"),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body must be application/json"),
    "rate_limited": Kind(429, "Too many requests of this user", _RETRY_LATER),
    "internal_error": Kind(500, "Something went wrong inside"),
    "overloaded": Kind(503, "Too many requests at once", {"Retry-After": "2"}),
    "shutting_down": Kind(503, "The service is about to stop", _RETRY_LATER),
    "keys_unavailable": Kind(503, "The token issuer's keys are away", _RETRY_LATER),
    "storage_unavailable": Kind(503, "The storage is away", _RETRY_LATER),
}

_APPLICATION_ERRORS: dict[type[ApplicationError], str] = {
    NotOwner: "forbidden",
    TaskNotFound: "task_not_found",
    VersionConflict: "version_mismatch",
    TaskContended: "overloaded",
    StorageUnavailable: "storage_unavailable",
}


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An error answer, after RFC 9457. Branch on `code`: it stays the same for ever; the words may change."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[dict[str, str]] = []
    """For `validation_error`: what is wrong where, each with a JSON `pointer` or a `parameter`, and a `detail`."""


class InvalidInput(Exception):
    """A request that breaks the contract. `location` is {"pointer": …} into the body or {"parameter": …}."""

    def __init__(self, detail: str, *, code: str = "validation_error", **location: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = [{**location, "detail": detail}] if location else []


def problem(
    request: Request[Any, Any, Any],
    code: str,
    detail: str = "",
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response[Problem]:
    """Return the answer for a code of the table."""
    scope: MutableMapping[str, Any] = request.scope  # type: ignore[assignment]
    scope["problem_code"] = code  # for the request's line in the log
    return Response(
        _problem(code, detail, errors or [], instance=scope["path"], request_id=scope["request_id"]),
        status_code=KINDS[code].status,
        headers={**KINDS[code].headers, **(headers or {})},
        media_type=PROBLEM_MEDIA_TYPE,
    )


def example(code: str) -> Problem:
    """Return what an answer with a code looks like."""
    errors = [{"pointer": "/title", "detail": "The title must not be empty."}] if code == "validation_error" else []
    return _problem(code, "", errors, instance="/api/ada/tasks", request_id="0f8fad5b-d9cb-469f-a165-70867728950e")


def encoded_problem(code: str, detail: str = "", *, instance: str, request_id: str) -> bytes:
    """Return the body of an answer that is made outside of Litestar."""
    return msgspec.json.encode(_problem(code, detail, [], instance=instance, request_id=request_id))


def _problem(code: str, detail: str, errors: list[dict[str, str]], *, instance: str, request_id: str) -> Problem:
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


def _application_error(request: Request[Any, Any, Any], error: ApplicationError) -> Response[Problem]:
    code = _APPLICATION_ERRORS.get(type(error))
    if code is None:
        return _unexpected(request, error)
    if code in ("storage_unavailable", "overloaded"):
        _log.warning(code, exc_info=error, extra={"fields": {"request_id": request.scope.get("request_id")}})
    return problem(request, code)


def _domain_error(request: Request[Any, Any, Any], error: DomainError) -> Response[Problem]:
    location = {"parameter": "limit"} if error.field == "limit" else {"pointer": f"/{error.field}"}
    return problem(request, "validation_error", error.detail, [{**location, "detail": error.detail}])


def _invalid_input(request: Request[Any, Any, Any], error: InvalidInput) -> Response[Problem]:
    return problem(request, error.code, error.detail, error.errors)


def _crowded(request: Request[Any, Any, Any], _: Crowded) -> Response[Problem]:
    return problem(request, "overloaded")


def _rate_limited(request: Request[Any, Any, Any], error: RateLimited) -> Response[Problem]:
    return problem(request, "rate_limited", headers={"Retry-After": str(error.retry_after)})


def _token_error(request: Request[Any, Any, Any], error: TokenError) -> Response[Problem]:
    return problem(request, error.code, error.detail)


def _keys_unavailable(request: Request[Any, Any, Any], _: KeysUnavailable) -> Response[Problem]:
    return problem(request, "keys_unavailable")


def _invalid_parameter(request: Request[Any, Any, Any], error: ValidationException) -> Response[Problem]:
    """Litestar's own refusal of a parameter, whose words say what was expected and never repeat the value."""
    found: list[dict[str, str]] = error.extra if isinstance(error.extra, list) else []
    errors = [
        {"pointer": "", "detail": "A body is required."}
        if item.get("source") == "body" or item.get("key") == "data"
        else {"parameter": item.get("key", ""), "detail": item["message"]}
        for item in found
    ]
    return problem(request, "validation_error", errors[0]["detail"] if errors else "", errors)


def _http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    by_status = {400: "validation_error", 404: "route_not_found", 405: "method_not_allowed", 413: "body_too_large"}
    code = by_status.get(error.status_code)
    if code is None:
        return _unexpected(request, error)
    allow = (error.headers or {}).get("allow")
    return problem(request, code, headers={"Allow": allow} if allow else None)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    if "client_gone" not in request.scope:
        _log.error("internal_error", exc_info=error, extra={"fields": {"request_id": request.scope.get("request_id")}})
    return problem(request, "internal_error")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    ApplicationError: _application_error,
    DomainError: _domain_error,
    InvalidInput: _invalid_input,
    Crowded: _crowded,
    RateLimited: _rate_limited,
    TokenError: _token_error,
    KeysUnavailable: _keys_unavailable,
    ValidationException: _invalid_parameter,
    HTTPException: _http_exception,
    Exception: _unexpected,
}
