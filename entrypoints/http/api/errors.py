"""The table that maps exceptions to problems."""

import logging
from collections.abc import Mapping
from typing import Any

from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import ExceptionHandlersMap

from adapters.tokens import KeysUnavailable, TokenError
from application import (
    NotOwner,
    StorageUnavailable,
    TaskAlreadyExists,
    TaskContended,
    TaskNotFound,
    VersionConflict,
)
from domain import DomainError
from entrypoints.http.api.rate_limit import RateLimited
from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, InputError, Problem, make_problem
from entrypoints.http.server.admission import UserOverShare
from entrypoints.http.server.exchange import Exchange
from entrypoints.logs import FailureLog

_failures = FailureLog(logging.getLogger("hextasks.http"))

PROBLEMS: Mapping[type[Exception], str] = {
    NotOwner: "forbidden",
    TaskNotFound: "task_not_found",
    TaskAlreadyExists: "task_already_exists",
    VersionConflict: "version_mismatch",
    TaskContended: "overloaded",
    StorageUnavailable: "storage_unavailable",
    DomainError: "validation_error",
    KeysUnavailable: "keys_unavailable",
    RateLimited: "rate_limited",
    UserOverShare: "overloaded",
    NotFoundException: "route_not_found",
    MethodNotAllowedException: "method_not_allowed",
    RequestEntityTooLarge: "body_too_large",
    ClientException: "validation_error",
    Exception: "internal_error",
}
"""The problem code of an exception: that of its nearest class in this table."""


class InvalidInput(Exception):
    """A request that breaks the contract.

    `code` is that of the problem, `input_code` that of its InputError, one of INPUT_CODES. `location` is
    {"pointer": …} into the body or {"parameter": …}.
    """

    def __init__(
        self, detail: str, *, code: str = "validation_error", input_code: str = "invalid_value", **location: str
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = [InputError(code=input_code, detail=detail, **location)] if location else []


def problem_code(error: Exception) -> str:
    """Return the problem code of an exception."""
    if isinstance(error, InvalidInput | TokenError):
        return error.code
    return next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the response for an exception, and log a failure that concerns operators."""
    exchange = Exchange.of(request.scope)
    code = exchange.problem_code = problem_code(error)
    if code == "internal_error" and not exchange.client_gone:
        _failures.unexpected(code, error, request_id=exchange.request_id)
    elif isinstance(error, StorageUnavailable | TaskContended):
        _failures.expected(code, error, request_id=exchange.request_id)
    detail, errors = _details(request, error)
    problem = make_problem(code, detail, instance=exchange.path, request_id=exchange.request_id)
    problem.errors = errors
    return Response(
        problem,
        status_code=KINDS[code].status,
        headers={**KINDS[code].headers, **_headers(error)},
        media_type=PROBLEM_MEDIA_TYPE,
    )


def _details(request: Request[Any, Any, Any], error: Exception) -> tuple[str, list[InputError]]:
    """Return a description of the error and what is wrong where. Neither repeats a value."""
    match error:
        case InvalidInput():
            return error.detail, error.errors
        case TokenError():
            return error.detail, []
        case DomainError():
            is_parameter = error.field in request.route_handler.opt.get("query", ())
            location = {"parameter": error.field} if is_parameter else {"pointer": f"/{error.field}"}
            return error.detail, [InputError(code=error.code, detail=error.detail, **location)]
        case ValidationException(extra=[*found]):  # Litestar's own check of a parameter or a missing body
            errors = [_litestar_error(each) for each in found]
            return errors[0].detail, errors
        case _:
            return "", []


def _litestar_error(found: dict[str, str]) -> InputError:
    if found.get("source") == "body" or found.get("key") == "data":
        return InputError(pointer="", code="missing_body", detail="A body is required.")
    return InputError(parameter=found.get("key", ""), code="invalid_value", detail=found["message"])


def _headers(error: Exception) -> Mapping[str, str]:
    match error:
        case RateLimited():
            return {"Retry-After": str(error.retry_after)}
        case MethodNotAllowedException():
            return {"Allow": (error.headers or {}).get("allow", "")}
        case _:
            return {}


EXCEPTION_HANDLERS: ExceptionHandlersMap = {Exception: problem_response}
