"""What the OpenAPI document says of an operation: the headers that it reads, and its responses.

Examples are objects, which are encoded with the document: Litestar would remove the fields of a mapping that are null.
"""

from typing import Any, Self

from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, Operation, Parameter, RequestBody
from msgspec import Struct

from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, Problem, example

INPUT = ("validation_error",)
BODY = ("request_timeout", "malformed_json", "validation_error", "body_too_large", "unsupported_media_type")
ACCESS = ("token_missing", "token_invalid", "token_expired", "keys_unavailable", "rate_limited", "forbidden")
STORAGE = ("storage_unavailable",)
EXISTING = ("task_not_found",)
WRITE = ("version_mismatch",)
ID_TAKEN = ("task_already_exists",)
KEY = ("idempotency_key_reused",)
IF_MATCH_REQUIRED = ("precondition_required",)
SYNC = ("sync_token_expired",)
ANY = ("uri_too_long", "headers_too_large", "overloaded", "shutting_down", "internal_error")
"""The problems that any operation may answer with."""

ETAG, LINK, LOCATION, SYNC_TOKEN, REPLAYED = (
    ResponseHeader(name, documentation_only=True)
    for name in ("ETag", "Link", "Location", "Sync-Token", "Idempotency-Replayed")
)


def reading(*headers: Parameter, body: Struct | None = None) -> type[Operation]:
    """Describe an operation whose handler reads these headers itself; `body` is an example of its body."""

    class Reading(Operation):  # not a dataclass, whose methods would be generated for each operation
        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            self.parameters = [*(self.parameters or ()), *headers]
            if body and isinstance(self.request_body, RequestBody):
                self.request_body.content["application/json"].example = body

    return Reading


class _Spec(ResponseSpec):
    """Is never copied: Litestar would copy it with each router, a quarter of the time to make an application."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def success(description: str, body: Struct | None = None, *, status: int = 200) -> dict[int, ResponseSpec]:
    """Describe a successful response by an example of its body; None means that it has none."""
    spec = _Spec(type(body) if body else None, description=description, generate_examples=False)
    spec.examples = [Example(value=body)] if body else None
    return {status: spec}


def success_stream(description: str, example: str) -> dict[int, ResponseSpec]:
    """Describe a response of server-sent events."""
    spec = _Spec(str, description=description, media_type="text/event-stream", generate_examples=False)
    spec.examples = [Example(value=example)]
    return {200: spec}


def errors(*codes: str) -> dict[int, ResponseSpec]:
    """Describe the problems with these codes and those common to all operations, each with an example."""
    by_status: dict[int, list[str]] = {}
    for code in (*codes, *ANY):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {
        status: _Spec(
            Problem,
            description=". ".join(f"`{code}`: {KINDS[code].title}" for code in same),
            media_type=PROBLEM_MEDIA_TYPE,
            generate_examples=False,
            examples=[Example(summary=KINDS[code].title, value=example(code)) for code in same],
        )
        for status, same in by_status.items()
    }
