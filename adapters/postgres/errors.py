"""Which faults mean that the storage is away, and what may be done about each at once: one table."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import asyncpg

from application import StorageUnavailable


class Fault(Enum):
    """What is known about a statement that the storage did not answer."""

    AWAY = auto()
    """Trying again at once is of no use."""
    REFUSED = auto()
    """It was not carried out, provably, and another try may succeed now: whatever it is, it may run again."""
    UNSENT = auto()
    """Its connection had ended before: whatever it is, it may run again on another one."""
    LOST = auto()
    """Nobody can tell whether it was carried out. Another connection may serve: what only reads may run again."""


DID_NOTHING = frozenset({Fault.REFUSED, Fault.UNSENT})
"""After these a statement may run again, whatever it is."""

# By SQLSTATE class or code (PostgreSQL, appendix A), the longest that fits.
_BY_SQLSTATE = {
    "08": Fault.LOST,  # connection exception
    "25006": Fault.REFUSED,  # read-only transaction: a server that was demoted; the next connection finds its successor
    "28": Fault.AWAY,  # invalid authorization: a wrong or rotated password
    "3D000": Fault.AWAY,  # the database does not exist
    "40": Fault.REFUSED,  # transaction rollback: deadlock, serialization failure
    "40003": Fault.LOST,  # statement completion unknown
    "42P01": Fault.AWAY,  # a table does not exist: not migrated yet, or being restored
    "53": Fault.AWAY,  # insufficient resources: too many connections, disk full, out of memory
    "55P03": Fault.AWAY,  # lock not available
    "57": Fault.AWAY,  # operator intervention: starting up, shutting down, statement cancelled
    "57P01": Fault.LOST,  # the backend was terminated
    "57P02": Fault.LOST,  # another one crashed
    "58": Fault.AWAY,  # system error: I/O
}
# Of errors without an SQLSTATE, the first that fits.
_BY_TYPE = {
    asyncpg.InterfaceError: Fault.AWAY,  # it asks for an authentication that the driver cannot do
    asyncpg.InternalClientError: Fault.LOST,  # the server hung up while it was asked
    ConnectionError: Fault.LOST,
    OSError: Fault.AWAY,  # and so TimeoutError: unresolvable, too slow
}

# asyncpg's own words on a connection that has ended, or is just reading of its end. It says so before it sends a thing.
_UNSENT = ("connection is closed", "cannot perform operation", "cannot switch to state")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn the driver's and the pool's faults into StorageUnavailable; let all others through."""
    try:
        yield
    except StorageUnavailable:
        raise
    except Exception as error:
        if fault(error):
            raise StorageUnavailable from error
        raise


def fault(error: BaseException | None) -> Fault | None:
    """Return which fault of the storage an error stands for, or None if it is no fault of the storage."""
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
