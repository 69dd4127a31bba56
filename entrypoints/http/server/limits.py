"""The limits of one server process."""

from dataclasses import dataclass

from entrypoints.http.server.descriptors import MAX_CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Sizes in bytes, times in seconds. They apply before a token is verified."""

    max_concurrent_requests: int
    """Requests in progress; one more is rejected as `overloaded`."""
    request_seconds: float
    """For a request to arrive, and again for its response to be produced."""
    streams: int = 2000
    """Open streams, which are no requests in progress; one more is rejected as `overloaded`."""
    streams_per_user: int = 20
    """The same of each user; one more is rejected as `rate_limited`."""
    stream_seconds: float = 600.0
    """After this time, give or take a tenth, a stream ends, so that its client is balanced anew."""
    shutdown_delay_seconds: float = 0.0
    """How long a process that stops goes on accepting requests, while it is not ready any more."""
    body_bytes: int = 65_536
    """A larger body is left to the application to reject."""
    target_bytes: int = 8192
    """The path and the query of a request, as sent."""
    header_bytes: int = 32_768
    """All headers of a request, each with four bytes for its separators; and again what frames its body: the sizes of
    chunks, their extensions, and trailers."""
    headers: int = 100
    pipelined: int = 16
    """Requests that a connection may send ahead of their responses."""
    connections: int = MAX_CONNECTIONS
    """Open connections of the public port; for one more, the longest idle one is closed."""
    admin_connections: int = 32
    """The same of the admin port."""
    keep_alive_seconds: int = 75
    """An idle connection stays open longer than load balancers keep theirs (60 seconds at AWS and nginx), so that they
    do not send a request into one that is being closed."""
    rejection_pause_seconds: float = 2.0
    """How long a connection pauses after a rejected request, as `Retry-After` says."""
    read_seconds: float = 60.0
    """For a client to read a piece of what was written, until its connection is reset."""
    arriving_bytes: int = 32 * 1024 * 1024
    """The parts of all incomplete requests; beyond it, the one that has been arriving for longest is closed."""
    unread_bytes: int = 32 * 1024 * 1024
    """What is kept until clients read what was written: large responses, unless they are shared, and further
    requests; beyond it, the connection whose client has read nothing for longest is reset."""
