"""Rows that get old within minutes, so that a soak of an hour purges what a service purges in months."""

import asyncio
import subprocess
import sys
from contextlib import suppress

import asyncpg

from tests.cli.processes import ROOT, environment
from tests.torture.client import SECRET
from tests.torture.postgres import ROLE, OwnPostgres
from tests.torture.report import Finding

AGE = "90 seconds"
"""From this age on, rows are made older than the service keeps them. A client repeats no request for so long."""
TABLES = {"task_tombstones": "removed_at", "idempotency_keys": "stored_at"}
OLDER = "interval '31 days'"


class Retention:
    """Makes rows old, and counts those that are left and those that were made old."""

    def __init__(self, postgres: OwnPostgres, database: str) -> None:
        self._postgres, self._database = postgres, database
        self._aged = 0
        self._left = 0
        """By the service, for the command."""
        self._purged = 0
        """By the command."""

    async def age(self) -> None:
        """Make the rows old that have reached the age. Does nothing while there is no database."""
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with self._postgres.admin(self._database) as admin:
                for table, column in TABLES.items():
                    done = await admin.execute(
                        f"UPDATE {table} SET {column} = {column} - {OLDER} "
                        f"WHERE {column} BETWEEN now() - interval '1 hour' AND now() - interval '{AGE}'"
                    )
                    self._aged += int(done.split()[-1])

    async def finish(self) -> None:
        """Count what the service has left, and run the command that purges it."""
        self._left = await self._old()
        settings = {"ENVIRONMENT": "production", "JWT_SECRET": SECRET}
        settings["DATABASE_URL"] = self._postgres.url(self._database, role=ROLE)
        command = [sys.executable, "-m", "hextasks", "purge"]
        ended = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env=environment(**settings), capture_output=True, text=True, check=True
        )
        self._purged = int(next(word for word in ended.stdout.split() if word.isdecimal()))
        assert await self._old() == 0, "the command left old rows"

    def finding(self, *, by_itself: bool) -> Finding:
        """Return whether everything that got old was purged; by the service too, if the soak was long enough."""
        return Finding(
            scenario="soak",
            done=f"{self._aged} deletions and idempotency keys got old",
            measured=f"{self._aged - self._left} purged by the service, {self._purged} by `hextasks purge`",
            bound="all, and some by the service" if by_itself else "all",
            kept=self._aged > 0 and self._purged >= self._left and (self._left < self._aged or not by_itself),
        )

    async def _old(self) -> int:
        counts = " + ".join(
            f"(SELECT count(*) FROM {table} WHERE {column} < now() - {OLDER})" for table, column in TABLES.items()
        )
        async with self._postgres.admin(self._database) as admin:
            return int(await admin.fetchval(f"SELECT {counts}"))
