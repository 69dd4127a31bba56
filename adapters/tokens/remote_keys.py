"""The public keys that an issuer publishes, fetched and kept up to date in the background."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import httpx

from adapters.tokens.errors import KeysUnavailable
from adapters.tokens.key_set import ALGORITHMS, KeySetError, read_key_set
from adapters.tokens.keys import PublicKey

_log = logging.getLogger("hextasks.keys")

REFRESH_SECONDS = 300.0
COOL_DOWN_SECONDS = 30.0
RETRY_SECONDS = 2.0
TIMEOUT_SECONDS = 5.0
MAX_BYTES = 262_144
MAX_WAITING = 8
"""Calls that may wait for the issuer at once: unverified requests must not fill the service while it is slow."""
MAX_LOGGED = 10
"""Key ids, and ignored entries, in a log line."""
MAX_LOGGED_ID_LENGTH = 64

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}  # a compressed response has no known bound


class RemoteKeySet:
    """An issuer's key set.

    Fetched when `running` begins and every five minutes from then on, or half a minute after a fetch that failed. An
    unknown key triggers a fetch, at most one in half a minute. The known keys are replaced by those of the first
    response with a usable key, and used until then, whatever else the issuer responds. Redirects and compressed
    responses are rejected; size and time are bounded.
    """

    algorithms = ALGORITHMS

    def __init__(self, url: str, *, refresh: float = REFRESH_SECONDS, cool_down: float = COOL_DOWN_SECONDS) -> None:
        """`url` is where the issuer publishes its keys; times are in seconds."""
        self._url = url
        # Created once: loading the root certificates blocks the event loop for some 25 milliseconds.
        self._verify = False if url.lower().startswith("http:") else httpx.create_ssl_context()
        self._refresh = refresh
        self._cool_down = cool_down
        self._keys: Mapping[tuple[str | None, str], PublicKey] = {}
        self._last_fetch = float("-inf")
        self._fetching = asyncio.Lock()
        self._waiting = asyncio.Semaphore(MAX_WAITING)
        self._reported: object = None
        self.generation = 0
        self.failure = ""
        """Why the last fetch brought no keys; empty if it did."""

    @property
    def count(self) -> int:
        """The number of known keys."""
        return len(self._keys)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the keys up to date during the block."""
        refresher = asyncio.create_task(self._refresh_regularly())
        try:
            yield
        finally:
            refresher.cancel()
            with suppress(asyncio.CancelledError):
                await refresher

    async def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the key with this id for this algorithm; without an id, the only one for it.

        None if the last fetch had no such key, even if the issuer has published it since, within the cool-down.
        Raises KeysUnavailable while no key is known, or when too many calls are waiting for a fetch.
        """
        found = self._look_up(kid, algorithm)
        if found is None:
            if self._keys and self._waiting.locked():
                raise KeysUnavailable
            async with self._waiting:
                await self._fetch(unless_within=self._cool_down)
            found = self._look_up(kid, algorithm)
        if not self._keys:
            raise KeysUnavailable
        return found

    def _look_up(self, kid: str | None, algorithm: str) -> PublicKey | None:
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, used_with), key in self._keys.items() if used_with == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _refresh_regularly(self) -> None:
        while True:
            if await self._fetch(unless_within=0.0):
                await asyncio.sleep(self._refresh)
            else:
                await asyncio.sleep(min(self._cool_down if self._keys else RETRY_SECONDS, self._refresh))

    async def _fetch(self, *, unless_within: float) -> bool:
        """Fetch the keys, unless that was attempted less than so many seconds ago; keep the old ones when it fails.

        Returns whether usable keys were fetched. Waits for a fetch that is under way. Raises nothing.
        """
        async with self._fetching:
            if time.monotonic() - self._last_fetch < unless_within:
                return False
            self._last_fetch = time.monotonic()
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    content = await self._download()
                published = read_key_set(content)
            except Exception as error:  # whatever the cause, the service works on with the known keys
                self.failure = str(error) if isinstance(error, KeySetError) else type(error).__name__
                self._report(logging.WARNING, "keys_not_fetched", reason=self.failure, known=len(self._keys))
                return False
            ignored = [f"{position}: {reason}" for position, reason in published.ignored.items()][:MAX_LOGGED]
            self.failure = "" if published.keys else "none that can be used"
            if not published.keys:
                self._report(logging.ERROR, "no_usable_keys", ignored=ignored, known=len(self._keys))
                return False
            if published.keys != self._keys:
                self._keys = published.keys
                self.generation += 1
            ids = [_printable(kid) for kid, _ in published.keys][:MAX_LOGGED]
            self._report(logging.INFO, "keys_fetched", ids=ids, ignored=ignored, known=len(self._keys))
            return True

    async def _download(self) -> bytes:
        content = b""
        async with (
            httpx.AsyncClient(follow_redirects=False, timeout=TIMEOUT_SECONDS, verify=self._verify) as client,
            client.stream("GET", self._url, headers=_HEADERS) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise KeySetError(f"HTTP status {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise KeySetError("compressed, although the request does not allow it")
            async for part in response.aiter_raw():
                content += part
                if len(content) > MAX_BYTES:
                    raise KeySetError(f"larger than {MAX_BYTES} bytes")
        return content

    def _report(self, level: int, message: str, **fields: object) -> None:
        """Log the outcome of a fetch if it differs from that of the one before."""
        if (message, fields) != self._reported:
            self._reported = message, fields
            _log.log(level, message, extra={"fields": fields})


def is_fetchable(url: str) -> bool:
    """Return whether keys can be fetched from a URL: an absolute one of http or https, without credentials."""
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode().encode("idna")  # as the resolver does
        has_host = parsed.host != "" and b"%" not in parsed.raw_host
    except (httpx.InvalidURL, ValueError):
        return False
    return (
        has_host
        and parsed.scheme in ("http", "https")
        and not parsed.userinfo
        and not parsed.fragment
        and (parsed.port is None or 0 < parsed.port < 65_536)
    )


def _printable(kid: str | None) -> str | None:
    """Return the beginning of a key id, in ASCII."""
    return None if kid is None else ascii(kid[:MAX_LOGGED_ID_LENGTH])[1:-1][:MAX_LOGGED_ID_LENGTH]
