"""The table of the driver's errors: which of them are faults of the storage, and which allow a retry."""

from enum import Enum, auto
from types import TracebackType

import asyncpg
import sqlalchemy.exc

from application import StorageNotMigrated, StorageUnavailable


class Fault(Enum):
    """What is known about a statement that failed."""

    UNAVAILABLE = auto()
    """A retry now would fail as well."""
    REJECTED = auto()
    """It provably changed nothing, and a retry may succeed."""
    UNSENT = auto()
    """Its connection had ended before it was sent, so it provably changed nothing."""
    LOST = auto()
    """Its connection ended before its response: it may have been carried out. Only a read may run again."""


DID_NOTHING = frozenset({Fault.REJECTED, Fault.UNSENT})
"""The faults after which any statement may run again."""

# By SQLSTATE class or code (PostgreSQL, appendix A), the longest that fits.
_BY_SQLSTATE = {
    "08": Fault.LOST,  # connection exception
    "25006": Fault.REJECTED,  # read-only transaction: the server was demoted; a new connection reaches its successor
    "26000": Fault.UNSENT,  # the prepared statement does not exist: a pooler has begun to share connections
    "42P05": Fault.UNSENT,  # a prepared statement with this name exists: the same
    "28": Fault.UNAVAILABLE,  # invalid authorization: a wrong or rotated password
    "3D000": Fault.UNAVAILABLE,  # the database does not exist
    "40": Fault.REJECTED,  # transaction rollback: deadlock, serialization failure
    "40003": Fault.LOST,  # statement completion unknown
    "42501": Fault.UNAVAILABLE,  # insufficient privilege: a GRANT is missing, which readiness reports
    "42703": Fault.UNAVAILABLE,  # a column does not exist: migrated to another version
    "42P01": Fault.UNAVAILABLE,  # a table does not exist: not migrated yet, or being restored
    "53": Fault.UNAVAILABLE,  # insufficient resources: too many connections, disk full, out of memory
    "55P03": Fault.UNAVAILABLE,  # lock not available
    "57": Fault.UNAVAILABLE,  # operator intervention: starting up, shutting down, statement cancelled
    "57P01": Fault.LOST,  # the backend was terminated
    "57P02": Fault.LOST,  # another one crashed
    "58": Fault.UNAVAILABLE,  # system error: I/O
}
# Of errors without an SQLSTATE, the first that fits.
_BY_TYPE = {
    asyncpg.InterfaceError: Fault.UNAVAILABLE,  # the server requires an authentication that the driver does not support
    asyncpg.InternalClientError: Fault.LOST,  # the server closed the connection during a request
    ConnectionError: Fault.LOST,
    OSError: Fault.UNAVAILABLE,  # includes TimeoutError
    sqlalchemy.exc.TimeoutError: Fault.UNAVAILABLE,  # all connections of an engine are in use
}

# The beginnings of asyncpg's messages for a connection that has ended or is ending, on which nothing was sent.
_UNSENT = ("connection is closed", "cannot perform operation", "cannot switch to state")


class _StorageErrors:
    """Turns the driver's errors that are faults of the storage into StorageUnavailable; passes on all others."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and fault(error):
            is_unmigrated = isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError)
            raise (StorageNotMigrated if is_unmigrated else StorageUnavailable) from error


storage_errors = _StorageErrors()
"""For `with`; one for all, because each statement runs in it."""


def fault(error: BaseException | None) -> Fault | None:
    """Return the fault of the storage that an error indicates, or None for any other error."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:  # of an engine that connects
        error = error.orig.__cause__
    if error is None:
        return None
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError) and str(error).startswith(_UNSENT):
        return Fault.UNSENT
    state = getattr(error, "sqlstate", None) or ""
    for length in (5, 2):
        if known := _BY_SQLSTATE.get(state[:length]):
            return known
    if state:
        return None
    return next((known for kind, known in _BY_TYPE.items() if isinstance(error, kind)), None)


def copied(error: StorageUnavailable) -> StorageUnavailable:
    """Copy an exception for another caller, because raising it adds to its traceback."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
