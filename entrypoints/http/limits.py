"""The server's limits according to the settings, without the application, which a parent of workers does not load."""

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
