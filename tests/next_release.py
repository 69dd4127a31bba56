"""The migrations of a release after this one: those of today, and made-up ones."""

from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from adapters.postgres import Database, migration_session, migrations
from adapters.postgres.migrations import newest_revision

MIGRATION = '''
"""A made-up migration."""

from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"
compatible_from = "{compatible_from}"


def upgrade() -> None:
    for statement in {statements}:
        op.execute(statement)
'''
EXPAND = (
    "ALTER TABLE tasks ADD COLUMN made_up text CONSTRAINT tasks_made_up_length CHECK (char_length(made_up) <= 10000)",
    "CREATE TABLE labels (user_id text NOT NULL, name text NOT NULL, PRIMARY KEY (user_id, name))",
)
CONTRACT = ("ALTER TABLE tasks DROP COLUMN title_key",)


class NextRelease:
    """The migrations of a release after this one, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._location = folder / "alembic"
        copytree(migrations.LOCATION, self._location, ignore=ignore_patterns("__pycache__"))
        self.revision = newest_revision()

    def add(self, *statements: str, compatible_from: str | None = None) -> str:
        """Add a migration, by default one on which this release does not work, and return its revision."""
        down_revision, self.revision = self.revision, f"{int(self.revision) + 1:04}"
        text = MIGRATION.format(
            revision=self.revision,
            down_revision=down_revision,
            compatible_from=compatible_from or self.revision,
            statements=statements,
        )
        (self._location / "versions" / f"{self.revision}_next.py").write_text(text)
        return self.revision

    async def migrate(self, database: Database) -> None:
        """Migrate a database, as the next release does it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(migration_session, "LOCATION", self._location)
            await migration_session.upgrade(database, migrations.LOCK_TIMEOUT_SECONDS)
