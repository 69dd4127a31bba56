"""The rate limit: a bucket of permits for each user, refilled at a steady rate."""

from math import ceil
from typing import NamedTuple

_ROUNDING = 1e-6  # sums of intervals are inexact


class RateLimited(Exception):
    """A user's bucket is empty. `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("rate_limited")
        self.retry_after = retry_after


class Permit(NamedTuple):
    """The result of taking a permit."""

    wait: int
    """Whole seconds until the next permit; 0 if this request is accepted."""
    headers: list[tuple[bytes, bytes]]
    """The response headers of draft-ietf-httpapi-ratelimit-headers."""


class RateLimit:
    """One bucket a user, in this process.

    A bucket is stored as the time at which it will be full again (the generic cell rate algorithm), and is removed
    after that time.
    """

    def __init__(self, *, burst: int, per_second: float) -> None:
        """Accept `burst` requests at once, and `per_second` in the long run."""
        self._interval = 1 / per_second
        self._span = burst * self._interval
        self._full_at: dict[str, float] = {}
        self._policy = f'"user";q={burst};w={ceil(self._span)}'.encode()

    def take(self, user_id: str, now: float) -> "Permit":
        """Take a permit from a user's bucket, if there is one, at a time in seconds."""
        full_at = max(self._full_at.pop(user_id, now), now)
        wait = full_at + self._interval - self._span - now
        if is_empty := wait > _ROUNDING:
            wait_seconds = ceil(wait)
        else:
            full_at, wait_seconds = full_at + self._interval, 0
        self._full_at[user_id] = full_at
        self._forget_full(now)
        left = 0 if is_empty else int((self._span - (full_at - now)) / self._interval + _ROUNDING)
        state = f'"user";r={left};t={ceil(full_at - now)}'.encode()
        return Permit(wait_seconds, [(b"ratelimit-policy", self._policy), (b"ratelimit", state)])

    def _forget_full(self, now: float) -> None:
        """Remove the full buckets, the least recently used first, up to one that is not full."""
        while self._full_at[oldest := next(iter(self._full_at))] <= now:
            del self._full_at[oldest]
