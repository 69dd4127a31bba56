"""Entity tags (RFC 9110, section 8.8.3): a task's version, so that a client can name what it has seen."""

import re

from litestar.openapi.spec import OpenAPIType, Parameter, Schema

from entrypoints.http.api.errors import InvalidInput

_TAG = re.compile(r'(?P<weak>W/)?"(?P<value>[\x21\x23-\x7e\x80-\xff]*)"')
IF_MATCH_PATTERN = r'^(\*|(W/)?"[\x21\x23-\x7e\x80-\xff]*")$'
"""One entity tag, or `*`."""
IF_MATCH = Parameter(
    "If-Match",
    "header",
    Schema(type=OpenAPIType.STRING, pattern=IF_MATCH_PATTERN),
    description="Write only if this is still the task's ETag; otherwise respond with 412.",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    Schema(type=OpenAPIType.STRING),
    description="Respond with 304 if this is still the task's ETag.",
)
"""For the OpenAPI document; handlers name theirs in `opt`. As parameters of handlers they would take twice the time."""

_VERSION = re.compile(r"[1-9][0-9]{0,18}")
NO_VERSION = 0
"""A version that no stored task has."""


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def expected_version(if_match: str | None) -> int | None:
    """Return the version that If-Match allows a write on; None stands for any.

    A weak or foreign tag matches nothing. Raises InvalidInput unless it is a single tag.
    """
    if if_match is None or (given := if_match.strip(" \t")) == "*":
        return None
    tag = _TAG.fullmatch(given)
    if tag is None:
        raise InvalidInput('Send one entity tag, such as "7", or *.', parameter="If-Match")
    known = not tag["weak"] and _VERSION.fullmatch(tag["value"])
    version = int(tag["value"]) if known else NO_VERSION
    return version if version < 2**63 else NO_VERSION


def is_unchanged(version: int, if_none_match: str | None) -> bool:
    """Return whether If-None-Match names this version, so that the task need not be sent again.

    A malformed header counts as absent. The service's own tags contain no comma.
    """
    if if_none_match is None:
        return False
    tags = [_TAG.fullmatch(tag.strip()) for tag in if_none_match.split(",")]
    return if_none_match.strip() == "*" or (all(tags) and any(tag and tag["value"] == str(version) for tag in tags))
