"""The two guards before every task route: who is calling, and are these their own tasks.

Guards and not middleware: they sit on the routes they protect, so no pattern of exceptions can leave one open, and they
run before the input is read, so a stranger learns nothing from how it is judged. Both are async, though one waits for
nothing: Litestar sends plain functions to a thread.
"""

import logging
from typing import Any
from urllib.parse import unquote_to_bytes

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from adapters.tokens import TokenError, TokenVerifier
from application import Forbidden, only_own_tasks
from entrypoints.http.server.exchange import Exchange

_log = logging.getLogger("hextasks.access")

Connection = ASGIConnection[Any, Any, Any, Any]


def authenticated_by(verifier: TokenVerifier) -> Guard:
    """Make the guard that lets a request pass with a valid bearer token, and names its user in `request.user`.

    The guard raises TokenError and KeysUnavailable, and UserOverShare when this user holds too much of the capacity.
    """

    async def authenticate(connection: Connection, _: BaseRouteHandler) -> None:
        try:
            connection.scope["user"] = await verifier.user_id(_bearer_token(connection))
        except TokenError as error:
            _refused(connection, error.code, error.detail)
            raise
        exchange = Exchange.of(connection.scope)
        exchange.user_id = connection.user
        exchange.slot.assign(connection.user)

    return authenticate


async def own_tasks_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Let a request pass whose path names its own user, and decode that name. Raises Forbidden."""
    try:
        user_id = unquote_to_bytes(connection.path_params["user_id"]).decode()
        only_own_tasks(actor=connection.user, user_id=user_id)
    except (Forbidden, UnicodeDecodeError) as error:
        _refused(connection, Forbidden.code, "The path names another user.")
        raise Forbidden from error
    # A new dictionary: Litestar shares the one it gave among all requests to this path.
    connection.scope["path_params"] = {**connection.path_params, "user_id": user_id}


def _bearer_token(connection: Connection) -> str:
    given = connection.headers.getall("authorization", [])
    if len(given) > 1:
        raise TokenError("token_invalid", "There is more than one Authorization header.")
    scheme, _, token = (given[0] if given else "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenError("token_missing", "Send the header: Authorization: Bearer <token>.")
    return token.strip()


def _refused(connection: Connection, code: str, reason: str) -> None:
    exchange = Exchange.of(connection.scope)
    fields = {
        "code": code,
        "reason": reason,
        "method": exchange.method,
        "route": connection.scope.get("path_template"),
        "user_id": exchange.user_id,
        "client": connection.client.host if connection.client else None,
        "request_id": exchange.request_id,
    }
    _log.warning("refused", extra={"fields": fields})
