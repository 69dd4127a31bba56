"""Admission control: bounds requests in progress, rejects new ones at shutdown."""

import time
from collections import Counter

from entrypoints.http.server.limits import ServerLimits
from entrypoints.http.server.streams import Stream, Streams

LIVE, READY, METRICS = b"/health/live", b"/health/ready", b"/metrics"
ADMIN_PATHS = frozenset({LIVE, READY, METRICS})
"""What the admin address serves."""
MAX_PROBES = 64
"""Health probes of one kind in progress: probes of a database that does not respond must not make others fail."""


class Rejected(Exception):
    """A request is not admitted, and nothing was done about it. `code` is the problem code of the response."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UserOverShare(Exception):
    """The process is close to its capacity, and this user already holds a quarter of it; nothing was done."""


class Admission:
    """Admits requests up to a limit, and while the process drains, none but those for liveness and metrics.

    From the beginning of a stop the process is not ready. It may still admit requests for a while, until load balancers
    have noticed that, before it drains.

    Beyond its capacity the process would only delay all requests; a request that is rejected at once can be retried,
    here or elsewhere. Health probes have a small limit of their own on the public port, so that they succeed beside any
    load, and are no way around the limit; on the admin port the number of connections bounds them.
    """

    def __init__(self, limits: ServerLimits) -> None:
        """Bound the number of requests in progress; a response that becomes a stream is counted by `streams`."""
        self.limit = limits.max_concurrent_requests
        self.streams = Streams(
            limit=limits.streams, limit_per_user=limits.streams_per_user, seconds=limits.stream_seconds
        )
        self.in_progress = 0
        self.probes_in_progress: Counter[bytes] = Counter()
        self.in_progress_by_user: Counter[str] = Counter()
        self.is_stopping = False
        """Whether a stop has begun: the process is not ready, and each response is the last on its connection."""
        self.is_draining = False
        """Whether a process that stops rejects requests, too."""
        self.drain_rejected_at = 0.0
        """When a request was last rejected while draining, in the time of `time.monotonic`."""

    def admit(self, path: bytes, *, only: frozenset[bytes] | None = None) -> "Slot":
        """Admit a request to a path until its slot is given back. Raises Rejected, also for a path not in `only`."""
        if only is not None and path not in only:
            raise Rejected("route_not_found")
        if self.is_stopping:
            self._reject_at_stop(path, is_admin=only is not None)
        if only is not None:
            return Slot(None)
        if path in (LIVE, READY):
            if self.probes_in_progress[path] >= MAX_PROBES:
                raise Rejected("overloaded")
            self.probes_in_progress[path] += 1
            return Slot(self, probe=path)
        if self.in_progress >= self.limit:
            raise Rejected("overloaded")
        self.in_progress += 1
        return Slot(self)

    def _reject_at_stop(self, path: bytes, *, is_admin: bool) -> None:
        is_kept = path == LIVE or (is_admin and path == METRICS)
        if not is_kept and (self.is_draining or path == READY):
            self.drain_rejected_at = time.monotonic()
            raise Rejected("shutting_down")


class Slot:
    """The part of the capacity that one request holds."""

    __slots__ = ("_admission", "_probe", "_user_id")

    def __init__(self, admission: Admission | None, *, probe: bytes | None = None) -> None:
        """Hold one place that `admission` has counted; without an admission, hold and count nothing."""
        self._admission = admission
        self._probe = probe
        self._user_id: str | None = None

    def assign(self, user_id: str) -> None:
        """Count the request as this user's. Only the first call counts. Raises UserOverShare.

        The last tenth of the capacity is reserved for users who hold less than a quarter of it.
        """
        admission = self._admission
        if admission is None or self._user_id is not None:
            return
        held = admission.in_progress_by_user[user_id]
        if admission.in_progress > admission.limit * 0.9 and held >= admission.limit / 4:
            raise UserOverShare
        admission.in_progress_by_user[user_id] = held + 1
        self._user_id = user_id

    def open_stream(self) -> Stream:
        """Open a stream of the user whom the request was assigned to. Raises TooManyStreams."""
        assert self._admission  # noqa: S101
        assert self._user_id is not None  # noqa: S101
        return self._admission.streams.admit(self._user_id)

    def leave(self) -> None:
        """Give the place back. Only the first call counts."""
        admission, self._admission = self._admission, None
        if admission is None:
            return
        if self._probe:
            admission.probes_in_progress[self._probe] -= 1
            return
        admission.in_progress -= 1
        if self._user_id is not None:
            admission.in_progress_by_user[self._user_id] -= 1
            if not admission.in_progress_by_user[self._user_id]:
                del admission.in_progress_by_user[self._user_id]


UNCOUNTED = Slot(None)
"""For a request that was never admitted."""
