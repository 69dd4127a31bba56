"""Values that OpenTelemetry's conventions define, and that metrics and spans have in common."""

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
OTHER_METHOD = "_OTHER"
"""Stands for any method that HTTP does not define, and for that of a request that could not be parsed."""


def request_method(method: str | None) -> str:
    """Return the value of `http.request.method`."""
    return method if method is not None and method in METHODS else OTHER_METHOD


def request_error(status: int, code: str | None) -> str:
    """Return the value of `error.type` of a request: the problem code of a 5xx, empty for any other status."""
    return (code or str(status)) if status >= 500 else ""


def driver_error(error: BaseException) -> BaseException:
    """Return the error whose class is the value of `error.type` of a statement."""
    return error.__cause__ or error
