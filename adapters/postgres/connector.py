"""Opens connections: to the host that accepts writes, with prepared statements only where a pooler keeps them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import asyncpg

from adapters.postgres.dsn import connect_arguments, each_host
from adapters.postgres.hosts import Hosts

# A pooler answers with a process number of its own, because several processes of the server serve one connection. A
# simple query, so that nothing is prepared; its result is the command tag.
_IS_DIRECT = "SELECT WHERE pg_backend_pid() = {pid}"
# A pooler that keeps prepared statements gives them names of its own. Where one does not, the server has this name, or
# executes the statement on a connection that does not have it.
_NAME = "hextasks_pooler"
_IS_RENAMED = "SELECT NOT EXISTS (SELECT FROM pg_prepared_statements WHERE name = $1)"

# How a session writes times as text: as `datetime.fromisoformat` reads them, faster than the driver reads their binary
# form (docs/explanation/performance.md).
_TIMES = {"TimeZone": "UTC", "DateStyle": "ISO"}

KEEPS = "a pooler that keeps prepared statements"
KEEPS_NONE = "a pooler that keeps no prepared statements"
PROBES = 5


class Connector:
    """Opens connections to the database of one URL."""

    def __init__(self, url: str, *, timeout: float, on_move: Callable[[float], None]) -> None:
        """Take a URL as providers show it, and the seconds that opening may take unless the URL has them.

        `on_move` is that of the Hosts. Raises ValueError for any other URL.
        """
        # Statements stay prepared as long as their connection is open. By default asyncpg forgets them after five
        # minutes, which costs two round trips for each.
        arguments = {"max_cached_statement_lifetime": 0, "server_settings": _TIMES, **connect_arguments(url)}
        arguments["timeout"] = self._timeout = arguments.get("timeout") or timeout
        self._hosts = Hosts(each_host(arguments), on_move)
        self._options: dict[str, int] = {}
        self._examines = "statement_cache_size" not in arguments
        self.pooler = "" if arguments.get("statement_cache_size", 1) else KEEPS_NONE
        """The pooler that the last connection leads through, in words; empty if there is none."""

    async def connect(self) -> asyncpg.Connection:
        """Open a connection. Raises the driver's errors, and TimeoutError."""
        async with asyncio.timeout(self._timeout):
            connection = await self._hosts.connect(**self._options)
            try:
                if self._examines and not await self._keeps_statements(connection):
                    connection.terminate()
                    self._examines = False
                    self._options = {"statement_cache_size": 0}
                    return await self._hosts.connect(**self._options)
                if not self.pooler:  # behind one, sessions may have the settings of other clients
                    await connection.set_type_codec(
                        "timestamptz", schema="pg_catalog", encoder=datetime.isoformat, decoder=datetime.fromisoformat
                    )
                return connection
            except BaseException:
                connection.terminate()
                raise

    async def _keeps_statements(self, connection: asyncpg.Connection) -> bool:
        """Return whether what is prepared on a connection stays there.

        The answer is no, too, for a pooler that lends one of the server's connections for the whole time.
        """
        if await connection.execute(_IS_DIRECT.format(pid=connection.get_server_pid())) == "SELECT 1":
            self.pooler = ""
            return True
        keeps = False
        with suppress(asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError):
            keeps = await (await connection.prepare(_IS_RENAMED, name=_NAME)).fetchval(_NAME)
        self.pooler = KEEPS if keeps else KEEPS_NONE
        return keeps


async def are_shared(first: asyncpg.Connection, second: asyncpg.Connection) -> bool:
    """Return whether a pooler has its clients share the server's connections, so that they have no session.

    With little traffic the second client gets the connection that the first has just used; with much traffic, the first
    does not get the same again.
    """
    seen = [await connection.fetchval("SELECT pg_backend_pid()") for connection in (first, second) * PROBES]
    return len({*seen[::2]}) > 1 or not {*seen[::2]}.isdisjoint(seen[1::2])
