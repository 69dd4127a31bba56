"""File descriptors: a process that has none left can neither accept a connection nor open one to its database."""

import resource

MAX_CONNECTIONS = 10_000
"""Idle ones take 5 KB each."""
OWN_DESCRIPTORS = 128
"""For the admin address, logs, the event loop, the token issuer, and database connections that are being replaced."""


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard limit, or to what the system accepts without one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else MAX_CONNECTIONS * 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def connection_limit(*, reserved: int) -> int:
    """Return how many connections this process may accept beside `reserved` other descriptors; below 1 if none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = soft if soft != resource.RLIM_INFINITY else MAX_CONNECTIONS * 2
    return min(MAX_CONNECTIONS, most - OWN_DESCRIPTORS - reserved)
