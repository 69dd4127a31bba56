"""Access control: runs before each request of the tasks router, on all of its routes.

It runs before the input is read, so that other users' requests disclose neither input rules nor whether a task exists.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from litestar import Request

from adapters.tokens import LEEWAY_SECONDS, TokenError, TokenVerifier
from application import NotOwner, only_own_tasks
from entrypoints.http.api.rate_limit import RateLimit, RateLimited
from entrypoints.http.server.exchange import Exchange
from entrypoints.storage import Storage


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a stream may go on."""

    seconds: float
    """At most."""
    check: Callable[[], Awaitable[object]]
    """Raises TokenError or KeysUnavailable once access is withdrawn."""


class Callers(Protocol):
    """Identifies the user who sends a request."""

    async def user_id(self, request: Request[Any, Any, Any]) -> str:
        """Return the user's id. Raises an exception for a request without a valid user."""
        ...

    async def lease(self, request: Request[Any, Any, Any]) -> Lease:
        """Return how long the response may go on as a stream."""
        ...


class TokenCallers:
    """The users that bearer tokens name."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def user_id(self, request: Request[Any, Any, Any]) -> str:
        """Return the user of a valid token. Raises TokenError and KeysUnavailable."""
        return await self._verifier.user_id(bearer_token(request.scope["headers"]))

    async def lease(self, request: Request[Any, Any, Any]) -> Lease:
        """Return the time until the token expires, with a check of its key. Raises TokenError and KeysUnavailable."""
        token = bearer_token(request.scope["headers"])
        verified = await self._verifier.verify(token)
        return Lease(verified.expires + LEEWAY_SECONDS - time.time(), partial(self._verifier.verify, token))


class AccessControl:
    """Finds the user, the user's share and rate limit, that the path names this user, and the storage.

    It raises, in this order, what `callers` raise, UserOverShare, RateLimited, NotOwner, StorageUnavailable.
    """

    def __init__(self, *, callers: Callers, rate_limit: RateLimit | None, storage: Storage) -> None:
        """Apply the rate limit, if there is one."""
        self.callers = callers
        self._rate_limit = rate_limit
        self._storage = storage

    async def check(self, request: Request[Any, Any, Any]) -> None:
        """Let the request pass with its user in the exchange and, decoded, in the path parameters; else raise."""
        scope = request.scope
        exchange = Exchange.of(scope)
        parameters = scope["path_params"]
        try:
            user_id = exchange.user_id = await self.callers.user_id(request)
            exchange.slot.assign(user_id)
            if self._rate_limit:
                self._take_permit(self._rate_limit, user_id, exchange)
            owner = parameters["user_id"]
            if owner != user_id or "%" in owner:
                owner = unquote_to_bytes(exchange.segment(owner)).decode()
                only_own_tasks(actor=user_id, user_id=owner)
                scope["path_params"] = {**parameters, "user_id": owner}  # a copy: Litestar keeps one for each path
        except TokenError as error:
            exchange.reason = error.detail
            raise
        except (NotOwner, UnicodeDecodeError) as error:
            exchange.reason = "The path names another user."
            raise NotOwner from error
        await self._storage.check()

    @staticmethod
    def _take_permit(rate_limit: RateLimit, user_id: str, exchange: Exchange) -> None:
        permit = rate_limit.take(user_id, time.monotonic())
        exchange.headers += permit.headers
        if permit.wait:
            raise RateLimited(permit.wait)


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the bearer token. Raises TokenError unless there is exactly one Authorization header with one."""
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) > 1:
        raise TokenError("token_invalid", "There is more than one Authorization header.")
    scheme, _, token = given[0].decode("latin-1").partition(" ") if given else ("", "", "")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenError("token_missing", "Send the header: Authorization: Bearer <token>.")
    return token
