"""What calls raise: the service's problems (RFC 9457), and that there was no response."""

import time
from email.utils import parsedate_to_datetime
from typing import Self

import httpx
import msgspec

from domain import HextasksError

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for a body that is not the service's."""


class InputError(msgspec.Struct, kw_only=True, frozen=True):
    """What is wrong at one place of a request: at a `pointer` into the body (RFC 6901), or at a `parameter`."""

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None
    current_version: int | None = None


class Problem(msgspec.Struct, kw_only=True, frozen=True):
    """The body of an error response. The defaults describe a response that is not the service's, as of a proxy."""

    status: int
    code: str = "unexpected_response"
    detail: str = ""
    request_id: str = "unknown"
    current_version: int | None = None
    errors: tuple[InputError, ...] = ()
    type: str = "about:blank"
    title: str = ""
    instance: str = ""


_NONE = Problem(status=0)


class ApiProblem(HextasksError):
    """The service rejected a call. Branch on `code`, which is stable, such as `task_not_found` or `version_mismatch`.

    A response that is not the service's has the code `unexpected_response`.
    """

    sentence = "The response is not one of the task service."

    def __init__(self, problem: Problem = _NONE, retry_after: float = 0.0) -> None:
        """Take the body, and the seconds of `Retry-After`."""
        super().__init__(problem, retry_after)
        self.problem = problem
        self.retry_after = retry_after
        """Seconds to wait before the next attempt; 0 where the service does not say."""
        self.status = problem.status
        self.code = problem.code
        self.errors = problem.errors
        """What is wrong where: for `validation_error`, and for a rejected batch."""
        self.current_version = problem.current_version
        """For `version_mismatch`: the task's version."""
        self.request_id = problem.request_id
        """Names the request in the log of the service."""

    def __str__(self) -> str:
        reason = self.problem.detail or self.sentence
        return f"{reason.rstrip('.')} ({self.status} {self.code}, request {self.request_id})."

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        """Return the error that a response describes."""
        try:
            return cls(msgspec.json.decode(response.content, type=Problem), _retry_after(response))
        except MALFORMED:
            return cls.unexpected(response)

    @classmethod
    def unexpected(cls, response: httpx.Response) -> Self:
        """Return the error of a response that is not the service's."""
        return cls(Problem(status=response.status_code), _retry_after(response))


class NoResponse(HextasksError):
    """No response came within the total time; `__cause__` is the last failure.

    A write may or may not have been done. The same call with the same idempotency key finds out, or does it.
    """

    sentence = "The task service did not respond in time."


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds to wait that a response names, as a number or as a date."""
    given = response.headers.get("Retry-After", "")
    if given.isdecimal():
        return float(given)
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return 0.0
