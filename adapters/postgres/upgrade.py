"""Alembic's upgrade command. `adapters.postgres.migrations` loads this module when it migrates."""

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection

from adapters.postgres.database import Database
from adapters.postgres.migration_session import migration_session
from adapters.postgres.migrations import LOCATION, UnknownRevision


async def upgrade(database: Database, lock_timeout: float) -> None:
    """Bring a database to the newest revision. Raises as `adapters.postgres.migrations.migrate`."""
    try:
        async with migration_session(database, lock_timeout=lock_timeout) as session:
            await session.run_sync(lambda connection: command.upgrade(alembic_config(connection), "head"))
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise UnknownRevision from error
        raise


def alembic_config(connection: Connection) -> Config:
    """Return the configuration of alembic's commands for a connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    return config
