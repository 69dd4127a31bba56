"""Which faults mean that the storage is away, rather than that this code is wrong: one table."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy import exc

from application import StorageUnavailable

LOCK_NOT_AVAILABLE = "55P03"
_LOST_SQLSTATES = ("08", "57P01", "57P02")  # connection exception; shut down, or crashed, under the statement

# SQLSTATE classes and codes (PostgreSQL, appendix A) under which the same statement may succeed later or elsewhere.
_UNAVAILABLE_SQLSTATES = (
    "08",  # connection exception
    "25006",  # read-only transaction: a standby after a failover
    "28",  # invalid authorization: a wrong or rotated password
    "3D000",  # the database does not exist
    "40",  # transaction rollback: deadlock, serialization failure
    "53",  # insufficient resources: too many connections, disk full, out of memory
    "57",  # operator intervention: shutdown, crash recovery, statement timeout
    "58",  # system error: I/O
    LOCK_NOT_AVAILABLE,
)
_UNAVAILABLE_ERRORS = (
    OSError,  # and so TimeoutError: refused, reset, unresolvable, too slow
    asyncpg.InterfaceError,  # the connection closed under a statement
    asyncpg.InternalClientError,  # the server hung up while connecting
    exc.TimeoutError,  # no connection of the pool came free in time
    exc.DisconnectionError,
)


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of an error of the driver, wrapped by SQLAlchemy or not, or an empty string."""
    return getattr(getattr(error, "orig", None) or error, "sqlstate", None) or ""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn the driver's and the pool's faults into StorageUnavailable; let all others through."""
    try:
        yield
    except Exception as error:
        if _is_fault_of_storage(error):
            raise StorageUnavailable from error
        raise


def lost_connection(error: BaseException | None) -> bool:
    """Tell whether a statement failed because its connection ended, so that another one may serve at once."""
    return isinstance(error, ConnectionError | asyncpg.InterfaceError) or (
        error is not None and sqlstate(error).startswith(_LOST_SQLSTATES)
    )


def _is_fault_of_storage(error: Exception) -> bool:
    if sqlstate(error).startswith(_UNAVAILABLE_SQLSTATES):
        return True
    # SQLAlchemy wraps what the driver raises, and raises anew when it gave up replacing dead connections.
    return any(isinstance(e, _UNAVAILABLE_ERRORS) for e in (error, error.__cause__, error.__context__))
