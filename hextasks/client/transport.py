"""Requests: the access token, the time limits, and the retries."""

import asyncio
import inspect
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from itertools import count
from typing import Any, TypeAlias

import httpx
import msgspec

from hextasks.client.problems import ApiProblem, NoResponse

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""An access token, or a function that returns one for the next request, at once or awaited."""

RETRIED = frozenset({408, 429, 502, 503, 504})
"""The statuses after which the same request may succeed."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0
"""The upper bounds of the random pause before the first retry, which doubles, and before all later ones."""
ATTEMPT = httpx.Timeout(15.0, connect=5.0, pool=None)
"""The time limits of one attempt, in seconds: more than the service allows itself."""
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)
"""A stream holds a connection, so that a bound would limit the streams, too."""
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Ten times what the largest response of the service has."""
_OF_THE_TRANSFER = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750


class Transport:
    """Sends requests to one service until it has responded."""

    def __init__(self, url: str, token: Token, total_seconds: float, http: httpx.AsyncClient | None) -> None:
        """Use the given client, or one that `aclose` closes. Raises ValueError for what is not a URL of a service."""
        parsed = httpx.URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
            raise ValueError("The URL of the service must be http://HOST or https://HOST, perhaps with a path.")
        if parsed.userinfo:  # httpx would send it instead of the token
            raise ValueError("The URL of the service must not have a user name and password.")
        self._total_seconds = total_seconds
        self._url = url.rstrip("/")
        self._token = token
        self._http = http or httpx.AsyncClient(timeout=ATTEMPT, limits=LIMITS)
        self._is_own = http is None

    async def aclose(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._is_own:
            await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> httpx.Response:
        """Return a successful response, or 304. A parameter that is None is left out.

        Raises ApiProblem, and NoResponse where none came within the total time.
        """
        json = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        request = self._http.build_request(
            method, self._url + path, params=_given(params), headers={**json, **(headers or {})}, content=content
        )
        return await self._respond(request, self._total_seconds)

    async def open(
        self,
        path: str,
        *,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        silence_seconds: float,
        is_endless: bool,
    ) -> httpx.Response:
        """Return a response to be read as it comes, which fails after so many seconds of silence, and to be closed.

        Raises ApiProblem, and NoResponse unless it is to be tried without end.
        """
        timeout = httpx.Timeout(**{**self._http.timeout.as_dict(), "read": silence_seconds})
        request = self._http.build_request(
            "GET", self._url + path, params=_given(params), headers=headers, timeout=timeout
        )
        return await self._respond(request, None if is_endless else self._total_seconds, is_stream=True)

    async def _respond(
        self, request: httpx.Request, total_seconds: float | None, *, is_stream: bool = False
    ) -> httpx.Response:
        ends_at = float("inf") if total_seconds is None else time.monotonic() + total_seconds
        token, has_renewed = await self._fresh_token(), False
        for attempt in count():
            request.headers["Authorization"] = f"Bearer {token}"
            failure: ApiProblem | NoResponse
            retry_after = 0.0
            try:
                async with asyncio.timeout(None if total_seconds is None else ends_at - time.monotonic()):
                    response = await self._http.send(request, stream=True)
                    is_done = response.is_success or response.status_code == HTTPStatus.NOT_MODIFIED
                    if is_done and is_stream:
                        return response
                    response = await _read(response)
                    if is_done:
                        return response
            except (httpx.RequestError, TimeoutError) as error:
                failure = NoResponse()
                failure.__cause__ = error
            else:
                failure = ApiProblem.of(response)
                retry_after = failure.retry_after
                if failure.status == HTTPStatus.UNAUTHORIZED and not has_renewed:
                    rejected, token, has_renewed = token, await self._fresh_token(), True
                    if token != rejected:
                        continue
                if failure.status not in RETRIED:
                    raise failure
            pause = pause_seconds(attempt, retry_after)
            if time.monotonic() + pause >= ends_at:
                raise failure
            await asyncio.sleep(pause)
            token = await self._fresh_token()
        raise AssertionError  # the count has no end

    async def _fresh_token(self) -> str:
        given = self._token if isinstance(self._token, str) else self._token()
        token = await given if inspect.isawaitable(given) else given
        if not _TOKEN.fullmatch(token):
            raise ValueError("An access token must have the form of a bearer token, without white space.")
        return token


async def _read(response: httpx.Response) -> httpx.Response:
    """Return a response with its body, and close the one given. Raises ApiProblem for a body that is too large."""
    body = bytearray()
    async with aclosing(response):
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise ApiProblem.unexpected(response)
    headers = [(name, value) for name, value in response.headers.items() if name not in _OF_THE_TRANSFER]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)


def pause_seconds(attempt: int, retry_after: float) -> float:
    """Return how long to wait after an attempt, counted from 0: as long as the service asks, then a random time.

    The random time is between 0 and a bound that doubles ("full jitter"), so that clients do not return all at once.
    """
    bound = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 16))
    return retry_after + random.uniform(0.0, bound)  # noqa: S311


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}
