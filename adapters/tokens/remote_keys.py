"""The public keys that an issuer publishes (RFC 7517, a JWKS), fetched and kept fresh in the background."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import jwt

from adapters.tokens.errors import KeysUnavailable

_log = logging.getLogger("hextasks.keys")

REFRESH_SECONDS = 300.0
COOL_DOWN_SECONDS = 30.0
RETRY_SECONDS = 2.0
TIMEOUT_SECONDS = 5.0
MAX_BYTES = 262_144
MAX_WAITING = 8
"""Calls that may wait for the issuer at once: unverified requests must not fill the service while it is slow."""

_Found = dict[tuple[str | None, str], jwt.PyJWK]


class RemoteKeySet:
    """An issuer's key set.

    Fetched when `running` begins and every five minutes from then on. While the issuer is unavailable, the last known
    keys are used. An unknown key triggers a fetch, at most one in half a minute. Redirects are rejected; size and time
    are bounded.
    """

    algorithms = ("EdDSA", "ES256", "RS256")

    def __init__(self, url: str, *, refresh: float = REFRESH_SECONDS, cool_down: float = COOL_DOWN_SECONDS) -> None:
        """`url` is where the issuer publishes its keys; times are in seconds."""
        self._url = url
        # Created once: loading the root certificates blocks the event loop for some 25 milliseconds.
        self._verify = False if url.startswith("http:") else httpx.create_ssl_context()
        self._refresh = refresh
        self._cool_down = cool_down
        self._keys: _Found | None = None
        self._published: Any = None
        self._last_look = float("-inf")
        self._looking = asyncio.Lock()
        self._waiting = asyncio.Semaphore(MAX_WAITING)
        self.generation = 0

    @property
    def count(self) -> int:
        """The number of known keys that may verify tokens."""
        return len(self._keys or {})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the keys up to date during the block."""
        keeper = asyncio.create_task(self._keep_fresh())
        try:
            yield
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key with this id for this algorithm; without an id, the only one for it.

        Raises KeysUnavailable when no fetch has succeeded yet, or too many calls are waiting for one.
        """
        found = self._look_up(kid, algorithm)
        if found is None:
            if self._keys is not None and self._waiting.locked():
                raise KeysUnavailable
            async with self._waiting:
                await self._fetch(unless_within=self._cool_down)
            found = self._look_up(kid, algorithm)
        if found is None and self._keys is None:
            raise KeysUnavailable
        return found

    def _look_up(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        keys = self._keys or {}
        if kid is not None:
            return keys.get((kid, algorithm))
        fitting = [key for (_, used_with), key in keys.items() if used_with == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _keep_fresh(self) -> None:
        while True:
            await self._fetch(unless_within=0.0)
            await asyncio.sleep(self._refresh if self._keys is not None else min(RETRY_SECONDS, self._refresh))

    async def _fetch(self, *, unless_within: float) -> None:
        """Fetch the keys, unless that was attempted less than so many seconds ago; keep the old ones when it fails.

        Waits for a fetch that is under way.
        """
        async with self._looking:
            if time.monotonic() - self._last_look < unless_within:
                return
            self._last_look = time.monotonic()
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    published = json.loads(await self._download())["keys"]
                keys = _usable(published)
            except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError, RecursionError) as error:
                fields = {"reason": type(error).__name__, "known": self._keys is not None}
                _log.warning("keys_not_fetched", extra={"fields": fields})
                return
            if published != self._published:
                self._published = published
                self._keys = keys
                self.generation += 1
                _log.info("keys_changed", extra={"fields": {"ids": [kid for kid, _ in keys]}})

    async def _download(self) -> bytes:
        content = b""
        async with (
            httpx.AsyncClient(follow_redirects=False, timeout=TIMEOUT_SECONDS, verify=self._verify) as client,
            client.stream("GET", self._url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ValueError("the issuer's response status is not 200")
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise ValueError("the key set is too large")
        return content


def _usable(published: list[Any]) -> _Found:
    """Return the keys that verify signatures with the accepted algorithms; ignore all others.

    Secrets ("oct") and keys for encryption are ignored.
    """
    found: _Found = {}
    for candidate in published:
        try:
            if candidate.get("use", "sig") != "sig" or "verify" not in candidate.get("key_ops", ["verify"]):
                continue
            key = jwt.PyJWK(candidate)
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
            continue
        if key.algorithm_name in RemoteKeySet.algorithms:
            found[key.key_id, key.algorithm_name] = key
    return found
