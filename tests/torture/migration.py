"""A migration of the next release under load, while a long transaction is in its way: no request fails."""

import asyncio
from pathlib import Path

from adapters.postgres import Database
from adapters.postgres.migrations import newest_revision
from tests.next_release import EXPAND, NextRelease
from tests.torture.postgres import ROLE, OwnPostgres
from tests.torture.report import Finding, at_most, none_of
from tests.torture.service import Service
from tests.torture.traffic import EVEN, Traffic

LONGEST_ANSWER_SECONDS = 3.0
"""A statement waits for the lock for 1.2 seconds at most, and a request has several statements."""


async def migration(folder: Path, postgres: OwnPostgres, *, seconds: float) -> list[Finding]:
    """Add a column and a table, while somebody reads the tasks for `seconds`; then start the service again."""
    name = await postgres.new_database()
    service = Service(folder, postgres, name)
    release = NextRelease(folder)
    for statement in EXPAND:
        release.add(statement, compatible_from=newest_revision())
    database = Database(postgres.url(name, role=ROLE))
    traffic = Traffic(service.address, mix=EVEN, pause=0.05)
    async with service.running(), postgres.admin(name) as analyst, traffic.running():
        await traffic.acknowledges()
        async with analyst.transaction():
            await analyst.execute("LOCK TABLE tasks IN ACCESS SHARE MODE")
            migrating = asyncio.create_task(release.migrate(database))
            await asyncio.sleep(seconds)
            has_waited = not migrating.done()
        await migrating
        await traffic.acknowledges()
    events = traffic.events
    async with service.running():
        wrong = await traffic.wrong(service.address, postgres, name)
    await database.close()
    if not has_waited:
        wrong.append("the migration did not wait for the long transaction")
    done = f"2 migrations, {seconds:g} s behind a transaction of somebody else; {len(events)} requests"
    return [
        none_of("migration", done, "failed", [event for event in events if event.is_failure]),
        none_of("migration", "the release before started again on the schema; states compared", "wrong", wrong),
        at_most("migration", "answers meanwhile", [event.seconds for event in events], LONGEST_ANSWER_SECONDS),
    ]
