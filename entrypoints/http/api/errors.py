"""The table that maps exceptions to problems."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.types import ExceptionHandlersMap
from msgspec import UNSET, UnsetType

from adapters.tokens import KeysUnavailable, TokenError
from application import (
    ApplicationError,
    IdempotencyKeyReused,
    IdempotencyKeyUsed,
    NotOwner,
    StateExpired,
    StateMismatch,
    StorageUnavailable,
    TaskAlreadyExists,
    TaskContended,
    TaskNotFound,
    VersionConflict,
    WritesRejected,
)
from domain import DomainError, HextasksError
from entrypoints.http.api.rate_limit import RateLimited
from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, InputError, Problem, make_problem
from entrypoints.http.server.admission import UserOverShare
from entrypoints.http.server.exchange import Exchange
from entrypoints.http.server.streams import TooManyStreams
from entrypoints.logs import FailureLog

_failures = FailureLog(logging.getLogger("hextasks.http"))


class InvalidInput(Exception):
    """A request that breaks the contract.

    `code` is that of the problem. What is wrong at a `pointer` into the body or at a `parameter` becomes an InputError
    with `input_code`, one of INPUT_CODES; or `errors` has them all.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str = "validation_error",
        input_code: str = "invalid_value",
        pointer: str | UnsetType = UNSET,
        parameter: str | UnsetType = UNSET,
        errors: Sequence[InputError] = (),
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = [*errors]
        if not pointer is parameter is UNSET:
            self.errors.append(InputError(pointer=pointer, parameter=parameter, code=input_code, detail=detail))

    @classmethod
    def of(
        cls, error: DomainError, *, pointer: str | UnsetType = UNSET, parameter: str | UnsetType = UNSET
    ) -> "InvalidInput":
        """Return the rejection of a value that breaks a rule of the domain."""
        return cls(error.detail, input_code=error.code, pointer=pointer, parameter=parameter)


_WITH_OWN_CODE = (InvalidInput, TokenError, TooManyStreams)
_API_PROBLEMS: Mapping[type[Exception], str] = {
    NotOwner: "forbidden",
    TaskNotFound: "task_not_found",
    TaskAlreadyExists: "task_already_exists",
    VersionConflict: "version_mismatch",
    StateMismatch: "version_mismatch",
    StateExpired: "sync_token_expired",
    IdempotencyKeyReused: "idempotency_key_reused",
    IdempotencyKeyUsed: "overloaded",  # its outcome was purged at this very moment
    TaskContended: "overloaded",
    StorageUnavailable: "storage_unavailable",
    DomainError: "validation_error",
    HextasksError: "internal_error",
    KeysUnavailable: "keys_unavailable",
    RateLimited: "rate_limited",
    UserOverShare: "overloaded",
    ValidationException: "validation_error",  # Litestar's own check of a parameter or a missing body
}
"""Those that the routes of the API raise, in a Litestar application of somebody else's, too."""
PROBLEMS: Mapping[type[Exception], str] = {
    **_API_PROBLEMS,
    NotFoundException: "route_not_found",
    MethodNotAllowedException: "method_not_allowed",
    ClientException: "validation_error",
    Exception: "internal_error",
}
"""The problem code of an exception: that of its nearest class in this table.

Not here are InvalidInput, TokenError and TooManyStreams, which carry their own code, WritesRejected, which has that of
its first error, and the exception for a body that is too large, which is known by its status only.
"""
_TOO_LARGE = 413
API_ERRORS: Sequence[type[Exception] | int] = (*_API_PROBLEMS, *_WITH_OWN_CODE, _TOO_LARGE)
"""What the routes of the API raise, as Litestar's keys for exception handlers, of which a number is a status."""


def problem_code(error: Exception) -> str:
    """Return the problem code of an exception; of many writes, that of the first one at fault."""
    if isinstance(error, _WITH_OWN_CODE):
        return error.code
    if isinstance(error, WritesRejected):
        return problem_code(error.errors[min(error.errors)])
    if isinstance(error, HTTPException) and error.status_code == _TOO_LARGE:
        return "body_too_large"
    return next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the response for an exception, and log a failure that concerns operators."""
    exchange = Exchange.of(request.scope)
    code = exchange.problem_code = problem_code(error)
    if code == "internal_error" and not exchange.client_gone:
        _failures.unexpected(code, error, **exchange.ids)
    elif isinstance(error, StorageUnavailable | TaskContended):
        _failures.expected(code, error, **exchange.ids)
    detail, errors = _details(request, error)
    problem = make_problem(code, detail, instance=exchange.path, request_id=exchange.request_id)
    problem.errors = errors
    if isinstance(error, VersionConflict):
        problem.current_version = _current_version(error)
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
        case TooManyStreams():
            return str(error), []
        case StateMismatch():
            return "The tasks have changed since the state in if_state.", []
        case WritesRejected():
            errors = [_rejection(place, each) for place, each in sorted(error.errors.items())]
            return "No operation was carried out.", errors
        case ApplicationError() if not isinstance(error, StorageUnavailable):  # whose reason concerns operators
            return str(error), []
        case DomainError():
            is_parameter = error.field in request.route_handler.opt.get("query", ())
            parameter, pointer = (error.field, UNSET) if is_parameter else (UNSET, f"/{error.field}")
            return error.detail, [
                InputError(parameter=parameter, pointer=pointer, code=error.code, detail=error.detail)
            ]
        case ValidationException(extra=[*found]):
            errors = [_litestar_error(each) for each in found]
            return errors[0].detail, errors
        case _:
            return "", []


def _rejection(place: int, error: ApplicationError) -> InputError:
    """Return why the operation at a place of a batch was rejected."""
    code = problem_code(error)
    field = "if_version" if isinstance(error, VersionConflict) else "id"
    return InputError(
        pointer=f"/operations/{place}/{field}",
        code=code,
        detail=str(error),
        current_version=_current_version(error),
    )


def _current_version(error: ApplicationError) -> int | UnsetType:
    return error.current_version or UNSET if isinstance(error, VersionConflict) else UNSET


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
