"""Defaults that stand in two places, because each is used without the other."""

import inspect
from dataclasses import asdict

from adapters.postgres import PoolSettings
from adapters.postgres.dsn import SCHEMES
from entrypoints.http.problems import KINDS
from entrypoints.http.server.limits import ServerLimits
from entrypoints.settings import DATABASE_SCHEMES, Settings
from hextasks import open_tasks

SETTINGS = Settings()
LIMITS = ServerLimits(max_concurrent_requests=1, request_seconds=1)


def test_the_pool_of_the_library_is_that_of_the_service() -> None:
    assert asdict(PoolSettings()) == {
        "size": SETTINGS.database_pool_size,
        "max_overflow": SETTINGS.database_max_overflow,
        "pre_ping": SETTINGS.database_pool_pre_ping,
        "recycle": SETTINGS.database_pool_recycle,
        "timeout": SETTINGS.database_timeout,
    }
    assert inspect.signature(open_tasks).parameters["timeout"].default == SETTINGS.database_timeout


def test_a_url_has_the_schemes_that_the_driver_is_given() -> None:
    assert tuple(f"{scheme}://" for scheme in SCHEMES) == DATABASE_SCHEMES


def test_the_streams_of_the_server_are_those_of_the_settings() -> None:
    assert (LIMITS.streams, LIMITS.streams_per_user) == (SETTINGS.max_streams, SETTINGS.max_streams_per_user)


def test_a_connection_pauses_as_long_as_the_rejection_says() -> None:
    assert float(KINDS["overloaded"].headers["Retry-After"]) == LIMITS.rejection_pause_seconds
