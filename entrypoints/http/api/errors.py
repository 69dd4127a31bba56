"""Which exception becomes which error response."""

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from adapters.tokens import KeysUnavailable, TokenError
from application import ApplicationError
from domain import DomainError
from entrypoints.http.api.rate_limit import RateLimited
from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, Problem, make_problem
from entrypoints.http.server.admission import UserOverShare
from entrypoints.http.server.exchange import Exchange
from entrypoints.logs import FailureLog

_failures = FailureLog(logging.getLogger("hextasks.http"))


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
    exchange = Exchange.of(request.scope)
    exchange.problem_code = code
    return Response(
        make_problem(code, detail, errors or [], instance=exchange.path, request_id=exchange.request_id),
        status_code=KINDS[code].status,
        headers={**KINDS[code].headers, **(headers or {})},
        media_type=PROBLEM_MEDIA_TYPE,
    )


def _application_error(request: Request[Any, Any, Any], error: ApplicationError) -> Response[Problem]:
    if error.code not in KINDS:
        return _unexpected(request, error)
    if error.code in ("storage_unavailable", "overloaded"):
        _failures.expected(error.code, error, request_id=Exchange.of(request.scope).request_id)
    return problem(request, error.code)


def _domain_error(request: Request[Any, Any, Any], error: DomainError) -> Response[Problem]:
    location = {"parameter": "limit"} if error.field == "limit" else {"pointer": f"/{error.field}"}
    return problem(request, "validation_error", error.detail, [{**location, "detail": error.detail}])


def _invalid_input(request: Request[Any, Any, Any], error: InvalidInput) -> Response[Problem]:
    return problem(request, error.code, error.detail, error.errors)


def _user_over_share(request: Request[Any, Any, Any], _: UserOverShare) -> Response[Problem]:
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
    exchange = Exchange.of(request.scope)
    if not exchange.client_gone:
        _failures.unexpected("internal_error", error, request_id=exchange.request_id)
    return problem(request, "internal_error")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    ApplicationError: _application_error,
    DomainError: _domain_error,
    InvalidInput: _invalid_input,
    UserOverShare: _user_over_share,
    RateLimited: _rate_limited,
    TokenError: _token_error,
    KeysUnavailable: _keys_unavailable,
    ValidationException: _invalid_parameter,
    HTTPException: _http_exception,
    Exception: _unexpected,
}
