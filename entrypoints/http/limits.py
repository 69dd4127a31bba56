"""The limits according to the settings, without the application, which a parent of workers does not load."""

from entrypoints.http.api.rate_limit import RateLimit
from entrypoints.http.server.descriptors import connection_limit
from entrypoints.http.server.limits import ServerLimits
from entrypoints.settings import Settings


def server_limits(settings: Settings) -> ServerLimits:
    """Return the server's limits according to the settings."""
    connections = connection_limit(reserved=settings.database_pool_size + settings.database_max_overflow)
    return ServerLimits(
        max_concurrent_requests=settings.max_concurrent_requests,
        request_seconds=settings.request_timeout,
        streams=min(settings.max_streams, connections // 2),  # the others are for requests
        streams_per_user=settings.max_streams_per_user,
        connections=connections,
        shutdown_delay_seconds=settings.shutdown_delay,
    )


def rate_limit(settings: Settings) -> RateLimit | None:
    """Return the rate limit of users according to the settings, if there is one."""
    if not settings.rate_limit_burst:
        return None
    return RateLimit(burst=settings.rate_limit_burst, per_second=settings.rate_limit_per_second)
