"""Preconditions (RFC 9110, section 13): a task's version is its entity tag, which names what a client has seen."""

import re
from collections.abc import Awaitable, Callable

from litestar.openapi.spec import OpenAPIType, Parameter, Schema

from application import TaskNotFound
from domain import Task
from entrypoints.http.api.bodies import StrictRequest
from entrypoints.http.api.errors import InvalidInput

MAX_TAGS = 100
"""Entity tags in one request, so that a list of thousands costs little."""
_TAG = r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"'
TAGS_PATTERN = rf"^(\*|{_TAG}([ \t]*,[ \t]*{_TAG}){{0,{MAX_TAGS - 1}}})$"
"""`*`, or entity tags separated by commas."""
IF_MATCH = Parameter(
    "If-Match",
    "header",
    Schema(type=OpenAPIType.STRING, pattern=TAGS_PATTERN),
    description="Write only if the task's ETag is among these; otherwise respond with 412.",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    Schema(type=OpenAPIType.STRING),
    description="Respond with 304 if the task's ETag is among these.",
)
IF_NONE_MATCH_TO_WRITE = Parameter(
    "If-None-Match",
    "header",
    Schema(type=OpenAPIType.STRING, pattern=TAGS_PATTERN),
    description="Write only if the task's ETag is not among these; otherwise, and always for *, respond with 412.",
)
"""For the OpenAPI document. As parameters of handlers they would take twice the time."""

_NEXT = re.compile(rf"[ \t]*+(?P<tag>{_TAG})?[ \t]*+(,|\Z)")  # possessive: linear in the length of white space
_VERSION = re.compile(r'"(?P<number>[1-9][0-9]{0,18})"')
NO_VERSION = 0
"""A version that no stored task has."""


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def is_unchanged(tags: list[str], version: int) -> bool:
    """Return whether the tags in If-None-Match name this version, so that the task need not be sent again."""
    return "*" in tags or _names(tags, version)


def known_tags(request: StrictRequest) -> list[str]:
    """Return the entity tags in If-None-Match, or `*` alone. A malformed header counts as absent.

    Raises InvalidInput for too many tags.
    """
    if_none_match = request.header(b"if-none-match")
    return (_tags("If-None-Match", if_none_match) or []) if if_none_match else []


async def writable_version(
    request: StrictRequest, read: Callable[[], Awaitable[Task]], *, requires_if_match: bool = False
) -> int | None:
    """Return the version on which the request's preconditions allow a write; None stands for any.

    The task is read only if they allow more than one version, or all but some; then the write is made on the version
    that was read, or on NO_VERSION, which rejects it. A weak or foreign tag in If-Match matches nothing. Raises
    InvalidInput, also without If-Match if it is required, and what `read` raises, except TaskNotFound, which the write
    itself finds.
    """
    if_match, if_none_match = request.header(b"if-match"), request.header(b"if-none-match")
    if if_match is None and requires_if_match:
        raise InvalidInput("Send the ETag of the task that you have read as If-Match.", code="precondition_required")
    if if_match is None and if_none_match is None:
        return None
    wanted = _checked_tags("If-Match", if_match) if if_match is not None else ["*"]
    unwanted = _checked_tags("If-None-Match", if_none_match) if if_none_match is not None else []
    if not unwanted and len(wanted) == 1:
        return None if wanted == ["*"] else _version(wanted[0])
    try:
        version = (await read()).version
    except TaskNotFound:
        return NO_VERSION
    is_unwanted = "*" in unwanted or _names(unwanted, version)
    return version if not is_unwanted and ("*" in wanted or etag(version) in wanted) else NO_VERSION


def _version(tag: str) -> int:
    known = _VERSION.fullmatch(tag)
    version = int(known["number"]) if known else NO_VERSION
    return version if version < 2**63 else NO_VERSION


def _names(tags: list[str], version: int) -> bool:
    """Compare weakly."""
    return any(tag.removeprefix("W/") == etag(version) for tag in tags)


def _checked_tags(name: str, given: str) -> list[str]:
    tags = _tags(name, given)
    if not tags:
        raise InvalidInput('Send entity tags, such as "7", or *.', parameter=name)
    return tags


def _tags(name: str, given: str) -> list[str] | None:
    """Return the entity tags that a header lists, or `*` alone; None if they are malformed.

    Raises InvalidInput for too many.
    """
    if given.strip(" \t") == "*":
        return ["*"]
    tags: list[str] = []
    elements = position = 0
    while position < len(given):
        found = _NEXT.match(given, position)
        if not found:
            return None
        position = found.end()
        elements += 1
        if found["tag"]:
            tags.append(found["tag"])
        if len(tags) > MAX_TAGS or elements > 2 * MAX_TAGS:  # empty ones are ignored (RFC 9110, section 5.6.1)
            raise InvalidInput(f"Send at most {MAX_TAGS} entity tags.", parameter=name)
    return tags
