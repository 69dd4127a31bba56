"""Retries and synchronization: the headers of requests that write, and of the responses to them.

Idempotency-Key is that of draft-ietf-httpapi-idempotency-key-header-07: of all requests with one key, one is carried
out.
"""

import re
from hashlib import sha256
from typing import Any

from litestar import Request
from litestar.openapi.spec import OpenAPIType, Parameter, Schema

from application import IDEMPOTENCY_KEY, Once, State
from domain import InvalidText
from entrypoints.http.api.bodies import StrictRequest
from entrypoints.http.api.errors import InvalidInput
from entrypoints.http.server.exchange import Exchange

_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_VISIBLE, _MAX = r"!-~\xa1-\xff", IDEMPOTENCY_KEY.max_length
KEY_PATTERN = (
    rf'^("([ !#-\[\]-~\xa0-\xff]|\\["\\]){{1,{_MAX}}}"'
    rf'|(?!""$)[{_VISIBLE}]([ \xa0{_VISIBLE}]{{0,{_MAX - 2}}}[{_VISIBLE}])?)$'
)
"""The documented form of a key: quoted, or bare."""
_NAME = b"idempotency-key"
_PARTS_OF_REQUEST = (b"if-match", b"if-none-match")
IDEMPOTENCY_KEY_HEADER = Parameter(
    "Idempotency-Key",
    "header",
    Schema(type=OpenAPIType.STRING, pattern=KEY_PATTERN),
    description="A text that no other request has, quoted or bare. A retry with the same key gets the first response.",
)
"""For the OpenAPI document."""


async def once(request: StrictRequest) -> Once | None:
    """Return the key of a request with all that makes two requests the same, or None. Raises InvalidInput."""
    given = request.header(_NAME)
    if given is None:
        return None
    key = given
    if given.startswith('"'):
        quoted = _QUOTED.fullmatch(given)
        if not quoted:
            raise InvalidInput('Send a key in quotation marks, with \\" and \\\\ within.', parameter="Idempotency-Key")
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    exchange = Exchange.of(request.scope)
    digest = sha256()
    for part in (exchange.method or "", exchange.path, *(request.header(name) or "" for name in _PARTS_OF_REQUEST)):
        digest.update(f"{len(part)}:{part}".encode())
    digest.update(await request.body())
    try:
        return Once(key=key, fingerprint=digest.digest())
    except InvalidText as error:
        raise InvalidInput.of(error, parameter="Idempotency-Key") from None


def sync_headers(
    request: Request[Any, Any, Any], state: State | None, *, is_replayed: bool
) -> list[tuple[bytes, bytes]]:
    """Return the headers about a write: the token of the state that it led to, unless it changed nothing."""
    headers = [(b"sync-token", str(state).encode())] if state else []
    if is_replayed:
        Exchange.of(request.scope).is_replayed = True
        headers.append((b"idempotency-replayed", b"true"))
    return headers
