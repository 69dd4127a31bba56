"""Request bodies: JSON of exactly the documented types, without coercion and without unknown fields."""

import json
import re
from functools import cache
from typing import Any

import msgspec
from litestar import Request

from entrypoints.http.api.errors import InvalidInput
from entrypoints.http.server.exchange import Exchange

_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_CODES = (
    (re.compile("Expected `[^`]*`(, got `|$)"), "wrong_type"),
    (re.compile("Object contains unknown field "), "unknown_field"),
    (re.compile("Object missing required field "), "missing_field"),
)
"""The beginnings of msgspec's messages."""


class StrictRequest(Request[str, Any, Any]):
    """A request that decodes its body to the type of its handler's `data`.

    Litestar would accept "true" as true and ignore the content type.
    """

    @property
    def actor(self) -> str:
        """The user that the token names, on a route with AccessControl."""
        user_id = Exchange.of(self.scope).user_id
        assert user_id is not None  # noqa: S101
        return user_id

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, of repeated ones as a list (RFC 9110, section 5.3); None if there is none.

        Litestar's mapping of all headers takes longer to make than the handler runs.
        """
        found: bytes | None = None
        for given, value in self.scope["headers"]:
            if given == name:
                found = value if found is None else b"%b, %b" % (found, value)
        return None if found is None else found.decode("latin-1")

    @property
    def content_length(self) -> int | None:
        """The announced length of the body."""
        length = self.header(b"content-length")
        return int(length) if length and length.isdecimal() else None

    async def json(self) -> Any:
        """Return the decoded body. Raises InvalidInput."""
        if (self.header(b"content-type") or "").partition(";")[0].strip().lower() != "application/json":
            raise InvalidInput("Send the header: Content-Type: application/json.", code="unsupported_media_type")
        field, body = self.route_handler.parsed_data_field, await self.body()
        try:
            decoded = _decoder(field.annotation if field else Any).decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidInput("The body is not well-formed JSON in UTF-8.", code="malformed_json") from None
        if body.count(b":") > 1:  # a body of one field, as most are, cannot repeat it
            json.loads(body, object_pairs_hook=_reject_repetition)
        return decoded


def _reject_repetition(members: list[tuple[str, Any]]) -> None:
    """Raise InvalidInput for a repeated name: msgspec takes the last value, a proxy may have checked the first."""
    if len(dict(members)) < len(members):
        raise InvalidInput("The body names a field more than once.", code="malformed_json")


@cache
def _decoder(annotation: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(annotation)


def _invalid(error: msgspec.ValidationError) -> InvalidInput:
    """Split "Expected `str`, got `int` - at `$.title`" into the message, its code and the place."""
    words = str(error)
    found = _PATH.search(words)
    path = found["path"] if found else ""
    detail = _PATH.sub("", words)
    code = next((code for pattern, code in _CODES if pattern.match(detail)), "invalid_value")
    pointer = path.replace(".", "/").replace("[", "/").replace("]", "")
    return InvalidInput(detail, input_code=code, pointer=pointer)
